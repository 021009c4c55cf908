"""Searches that a security team makes, on a real Elasticsearch; each answer is the one that the events themselves give.

The seven questions are those of https://kubernetes.io/docs/tasks/debug/debug-cluster/audit/.
"""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Any

from support.elastic_corpus import Corpus

Document = dict[str, Any]

AUDIT = "kubernetes.audit"
_MOST_BUCKETS = 1000


def get(found: Document, path: str) -> Any:
    """Return the member of a document at a dotted path, None where there is none."""
    member: Any = found
    for name in path.split("."):
        member = member.get(name) if isinstance(member, dict) else None
    return member


def counts(corpus: Corpus, **fields: str) -> Counter[tuple[Any, ...]]:
    """Return how many events have which values in the fields, those without any among them."""
    sources = [{name: {"terms": {"field": field, "missing_bucket": True}}} for name, field in fields.items()]
    asked = {"by": {"composite": {"size": _MOST_BUCKETS, "sources": sources}}}
    buckets = corpus.answer({"match_all": {}}, aggs=asked)["aggregations"]["by"]["buckets"]
    return Counter({tuple(bucket["key"].values()): bucket["doc_count"] for bucket in buckets})


def test_what_happened(audited: Corpus) -> None:
    """The verb, and what became of it."""

    def outcome(found: Document) -> str:
        code = get(found, "responseStatus.code")
        return "failure" if (code or 0) >= 400 else "success" if code else "unknown"

    happened = Counter((found["verb"], outcome(found)) for found in audited.events)

    assert counts(audited, verb="event.action", outcome="event.outcome") == happened


def test_when_did_it_happen(audited: Corpus) -> None:
    """The time is that of the stage; a range finds what is in it."""
    times = sorted(found["stageTimestamp"] for found in audited.events)
    begin, end = times[100], times[300]

    found = audited.found({"range": {"@timestamp": {"gte": begin, "lt": end}}})

    inside = [time for time in times if _milliseconds(begin) <= _milliseconds(time) < _milliseconds(end)]
    assert sorted(get(each, f"{AUDIT}.stageTimestamp") for each in found) == inside


def test_who_initiated_it(audited: Corpus) -> None:
    """The user, and the one that was acted as."""
    initiated = Counter(
        (get(found, "user.username"), get(found, "impersonatedUser.username")) for found in audited.events
    )

    assert counts(audited, user="user.name", effective="user.effective.name") == initiated


def test_on_what_did_it_happen(audited: Corpus) -> None:
    """The object, by all of its names."""
    names = ("resource", "namespace", "name", "subresource")
    objects = Counter(tuple((found.get("objectRef") or {}).get(name) for name in names) for found in audited.events)

    assert counts(audited, **{name: f"{AUDIT}.objectRef.{name}" for name in names}) == objects


def test_where_was_it_observed(audited: Corpus) -> None:
    """The cluster, and the stage of the request there."""
    observed = Counter(("recorded", found["stage"], found["level"]) for found in audited.events)

    fields = {"cluster": "orchestrator.cluster.name", "stage": f"{AUDIT}.stage", "level": f"{AUDIT}.level"}
    assert counts(audited, **fields) == observed


def test_from_where_was_it_initiated(audited: Corpus) -> None:
    """The address, by its network too, and the client, by a word of its name."""
    from_curl = {_id(found) for found in audited.events if found["userAgent"].startswith("curl/")}

    assert audited.ids({"term": {"source.ip": "127.0.0.0/8"}}) == {_id(found) for found in audited.events}
    assert audited.ids({"match": {"user_agent.original.text": "curl"}}) == from_curl
    assert from_curl


def test_to_where_was_it_going(audited: Corpus) -> None:
    """The URI is whole, query and all; a path finds what is below it."""
    going = "/api/v1/namespaces/team-a/pods/web-0/"
    below = {_id(found) for found in audited.events if found["requestURI"].startswith(going)}

    assert audited.ids({"prefix": {f"{AUDIT}.requestURI": going}}) == below
    assert audited.ids({"term": {f"{AUDIT}.requestURI": f"{going}exec?command=sh&stdin=true"}}) < below


def test_what_was_in_a_request_can_be_searched(audited: Corpus) -> None:
    """Its body is searched by the path of a value, and gives back what was sent."""
    bodies = [found for found in audited.events if get(found, "requestObject.kind") == "ConfigMap"]

    ids = audited.ids({"term": {f"{AUDIT}.requestObject.kind": "ConfigMap"}})

    assert ids == {_id(found) for found in bodies if found.get("requestObject")} != set()


def _id(found: Document) -> tuple[str, str]:
    return found["auditID"], found["stage"]


def _milliseconds(time: str) -> int:
    """Return a time as a ``date`` field has it: in milliseconds, the rest cut."""
    return int(datetime.fromisoformat(time).timestamp() * 1_000_000) // 1000
