"""What each panel of the dashboard asks, asked of a real Elasticsearch; the answers are those of the events themselves.

Kibana makes an aggregation of a Lens panel's columns; `aggregation` does the same for the few kinds of columns that
infra/kibana has. That Kibana's is the same is by its sources, not by a run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
from support import kibana
from support.elastic_corpus import Corpus
from support.kibana import Lens

LENSES = kibana.lenses()
MISSING = "__missing__"

Event = dict[str, Any]
Value = Callable[[Event], Any]


def at(*path: str) -> Value:
    """Return what finds the member at ``path`` of an event, None where it has none."""

    def find(event: Event) -> Any:
        found: Any = event
        for name in path:
            found = (found or {}).get(name)
        return found

    return find


def first_address(event: Event) -> Any:
    """Return the address that the request came from."""
    return event["sourceIPs"][0]


def is_denied(event: Event) -> bool:
    """Return whether the request was refused by the authenticator, the authorizer or admission."""
    forbidden = at("annotations", "authorization.k8s.io/decision")(event) == "forbid"
    return forbidden or at("responseStatus", "code")(event) in {401, 403}


USER, VERB, RESOURCE = at("user", "username"), at("verb"), at("objectRef", "resource")
NAMESPACE, NAME = at("objectRef", "namespace"), at("objectRef", "name")
IMPERSONATED = at("impersonatedUser", "username")


class Table(NamedTuple):
    """What a table must show: the events that are counted, and the values that its rows are by."""

    by: tuple[Value, ...]
    counted: Callable[[Event], object] = bool


TABLES = {
    "Who did it": Table((USER,)),
    "What was done": Table((VERB, RESOURCE)),
    "On what": Table((RESOURCE, NAMESPACE, NAME)),
    "From where": Table((first_address, at("userAgent"))),
    "Where it was observed": Table((lambda _: "recorded", at("stage"))),
    "Where it was going": Table((at("requestURI"),)),
    "What was denied": Table((USER, VERB, RESOURCE, NAMESPACE), is_denied),
    "Who acted as whom": Table((USER, IMPERSONATED), IMPERSONATED),
}


def kql(query: str) -> dict[str, Any]:
    """Return ``query``, in the language of Kibana's search bar, as Elasticsearch itself reads it."""
    return {"kql": {"query": query}} if query else {"match_all": {}}


def aggregation(lens: Lens) -> dict[str, Any]:
    """Return the aggregation of a panel: a level for each column with values, and its numbers in the last."""
    buckets = [column for column in lens.columns.values() if column["isBucketed"]]
    aggregations = _numbers(lens)
    for column in reversed(buckets):
        parameters: dict[str, Any] = {"field": column["sourceField"]}
        if column["operationType"] == "date_histogram":
            level = {"date_histogram": {**parameters, "fixed_interval": "30s"}}  # Kibana makes it of the time range
        else:
            assert column["params"]["orderBy"]["columnId"] == "events"
            parameters |= {"size": column["params"]["size"], "order": {"_count": column["params"]["orderDirection"]}}
            level = {"terms": parameters | ({"missing": MISSING} if column["params"]["missingBucket"] else {})}
        aggregations = {"by": {**level, "aggs": aggregations}}
    return aggregations


def _numbers(lens: Lens) -> dict[str, Any]:
    numbers = {}
    for name, column in lens.columns.items():
        if "filter" in column:
            numbers[name] = {"filter": kql(column["filter"]["query"])}
        elif column["operationType"] == "unique_count":
            numbers[name] = {"cardinality": {"field": column["sourceField"]}}
    return numbers


def asked(corpus: Corpus, title: str) -> dict[str, Any]:
    """Return the answer to what the panel ``title`` asks."""
    lens = LENSES[title]
    return corpus.answer(kql(lens.query), aggs=aggregation(lens) or None)


def shown(answer: dict[str, Any], before: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], dict[str, Any]]]:
    """Yield the rows of a table, each with its last bucket."""
    for bucket in answer["by"]["buckets"]:
        row = (*before, None if bucket["key"] == MISSING else bucket["key"])
        if "by" in bucket:
            yield from shown(bucket, row)
        else:
            yield row, bucket


def expected(events: list[Event], by: tuple[Value, ...], sizes: list[int]) -> dict[tuple[Any, ...], int]:
    """Return how many events each row must have: at each level the commonest values, equals by name."""
    if not by:
        return {(): len(events)}
    groups: dict[Any, list[Event]] = {}
    for event in events:
        groups.setdefault(by[0](event), []).append(event)
    commonest = sorted(groups, key=lambda value: (-len(groups[value]), MISSING if value is None else value))
    return {
        (value, *rest): count
        for value in commonest[: sizes[0]]
        for rest, count in expected(groups[value], by[1:], sizes[1:]).items()
    }


@pytest.mark.parametrize("title", TABLES)
def test_a_table_shows_what_the_events_say(title: str, audited: Corpus) -> None:
    """Each row, and how many events it stands for."""
    table = TABLES[title]
    counted = [event for event in audited.events if table.counted(event)]
    sizes = [column["params"]["size"] for column in LENSES[title].columns.values() if column["isBucketed"]]

    rows = {row: bucket["doc_count"] for row, bucket in shown(asked(audited, title)["aggregations"])}

    assert rows == expected(counted, table.by, sizes)
    assert rows


def test_the_users_have_their_denials_beside_them(audited: Corpus) -> None:
    """The second number of the table of users."""
    denied = Counter(USER(event) for event in audited.events if is_denied(event))

    answer = asked(audited, "Who did it")["aggregations"]

    assert {row[0]: bucket["denied"]["doc_count"] for row, bucket in shown(answer)} == {
        user: denied[user] for user in {USER(event) for event in audited.events}
    }


def test_the_time_line_has_each_verb_at_its_time(audited: Corpus) -> None:
    """Summed over all times, the bars are the events by verb."""
    bars: Counter[str] = Counter()

    for (_, verb), bucket in shown(asked(audited, "What happened, and when")["aggregations"]):
        bars[verb] += bucket["doc_count"]

    assert bars == Counter(map(VERB, audited.events))


@pytest.mark.parametrize(
    ("title", "number"),
    [
        ("Users", lambda events: len({USER(event) for event in events} - {None})),
        ("Clusters", lambda _: 1),
    ],
)
def test_a_number_counts_what_differs(title: str, number: Callable[[list[Event]], int], audited: Corpus) -> None:
    """Users and clusters."""
    answer = asked(audited, title)

    assert answer["aggregations"]["events"]["value"] == number(audited.events)


def test_the_numbers_of_events_are_theirs(audited: Corpus) -> None:
    """All of them, and the denied."""
    assert asked(audited, "Events")["hits"]["total"]["value"] == len(audited.events)
    assert asked(audited, "Denied")["aggregations"]["events"]["doc_count"] == sum(map(is_denied, audited.events))


def test_every_panel_was_asked() -> None:
    """One that is added wants its answer checked too."""
    assert set(LENSES) == {*TABLES, "What happened, and when", "Users", "Clusters", "Events", "Denied"}


def test_the_discover_search_shows_the_newest_event_first(audited: Corpus) -> None:
    """With all its columns, as far as the event has them."""
    attributes = kibana.saved_objects()["search"]["attributes"]
    [[field, order]] = attributes["sort"]

    hits = audited.answer({"match_all": {}}, sort=[{field: order}], fields=attributes["columns"])["hits"]["hits"]

    newest = max(event["stageTimestamp"] for event in audited.events)
    assert hits[0]["_source"]["kubernetes"]["audit"]["stageTimestamp"] == newest
    assert {field for hit in hits for field in hit["fields"]} == set(attributes["columns"])


def test_the_data_view_covers_the_events_and_not_what_is_none(audited: Corpus) -> None:
    """Whichever target they were stored in."""
    title = kibana.saved_objects()["index-pattern"]["attributes"]["title"]
    audited.client.index(
        index="kube-audit-_rejected", document={"@timestamp": "2026-11-23T00:00:00Z"}, op_type="create"
    )

    indices = audited.client.indices.resolve_index(name=title)["data_streams"]

    names = {stream["name"] for stream in indices}
    assert "logs-kubernetes.audit_logs-recorded" in names
    assert not [name for name in names if name.endswith("_rejected")]
