"""Streams: names that Elasticsearch accepts, one for each user, and templates for them."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from support.eventlists import PROPERTY, event, eventlist, names

from auditsplit.decode import batch as batches
from auditsplit.event import Batch, Origin
from auditsplit.sinks.elasticsearch.streams import MAX_BYTES, Streams

ILLEGAL = re.compile(r'[A-Z\\/*?"<>| ,#:]|\A[-_+.]')
"""What Elasticsearch forbids in the name of an index, or at its beginning."""


def streams_of(batch: Batch, template: str = "kube-audit-{user}") -> list[str]:
    """Return the data streams of a batch."""
    return list(Streams(template).group(batch))


def batch_of(*items: bytes, cluster: str = "default") -> Batch:
    """Return the batch of ``items``."""
    return batches.read(eventlist(items), cluster)


@pytest.mark.parametrize(
    ("username", "name"),
    [
        ("alice@example.com", "kube-audit-alice@example.com"),
        ("system:serviceaccount:ns:x", "kube-audit-system%3aserviceaccount%3ans%3ax"),
        ("Alice", "kube-audit-%41lice"),
        ("../a/b", "kube-audit-%2e.%2fa%2fb"),
        ("_rejected", "kube-audit-%5frejected"),
        (None, "kube-audit-_no-user"),
    ],
)
def test_a_name_is_the_users_in_lower_case(username: str | None, name: str) -> None:
    """Kubernetes' own names stay readable."""
    assert streams_of(batch_of(event(username))) == [name]


@PROPERTY
@given(one=names, other=names)
@example(":" * 200, "%3a" * 66)
@example(":" * 100, ":" * 99 + "%3a")
@example("A" * 90, "%41" * 60)
def test_two_users_never_share_a_data_stream(one: str, other: str) -> None:
    """Their names are legal, short enough, and one-to-one."""
    streams = Streams()
    origin = Origin("default", datetime.now(UTC))
    first, second = (
        [*streams.group(Batch("", origin, batch_of(event(name.encode("utf-8", "replace").decode())).events, []))]
        for name in (one, other)
    )

    assert (first == second) == (one.encode("utf-8", "replace") == other.encode("utf-8", "replace"))
    for name in (*first, *second):
        assert not ILLEGAL.search(name)
        assert len(name) <= MAX_BYTES
        assert name.startswith("kube-audit-")
        assert name != streams.rejected


@pytest.mark.parametrize(
    ("template", "name", "patterns", "rejected"),
    [
        ("kube-audit-{user}", "kube-audit-alice", ["kube-audit-*"], "kube-audit-_rejected"),
        (
            "logs-kubernetes.audit_logs-auditsplit_{cluster}",
            "logs-kubernetes.audit_logs-auditsplit_prod-1",
            ["logs-kubernetes.audit_logs-auditsplit_*"],
            "logs-kubernetes.audit_logs-auditsplit__rejected",
        ),
        ("log-{cluster}", "log-prod-1", ["log-*"], "log-_rejected"),
        ("k8s/{cluster}/{user}", "k8s=prod-1=alice", ["k8s=*"], "k8s=_rejected"),
        ("audit-{user}-{date}", "audit-alice-2026-11-23", ["audit-*"], "audit-_rejected"),
        ("all-audit", "all-audit", ["all-audit", "all-audit-_rejected"], "all-audit-_rejected"),
        ("audit-{level}", "audit-request", ["audit-*"], "audit-_rejected"),
    ],
)
def test_a_template_names_the_data_streams(template: str, name: str, patterns: list[str], rejected: str) -> None:
    """And the patterns that an API key must cover."""
    streams = Streams(template)

    assert list(streams.group(batch_of(event("alice"), cluster="prod-1"))) == [name]
    assert streams.patterns == patterns
    assert streams.rejected == rejected


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("{user}", "must begin with"),
        ("ab{user}", "must begin with"),
        ("-audit-{user}", "must begin with"),
        ("_audit-{user}", "must begin with"),
        ("Audit-{user}", "must begin with"),
        ("audit-A-{user}", "has a character other than"),
        ("audit:{user}", "has a character other than"),
        ("audit,{user}", "has a character other than"),
        ("audit-{who}", "is not a field"),
        ("audit-{user}-{namespace}", "could get the same key"),
        ("audit-" + "x" * 300, "over 233 bytes"),
        ("log{user}", "Elastic's integrations"),
        ("logs-{user}", "Elastic's integrations"),
        ("logs-kubernetes.audit_logs{user}", "Elastic's integrations"),
        ("logs-kubernetes.audit_logs-{cluster}", "Elastic's integrations"),
        ("logs-kubernetes.audit_logs-def{cluster}", "Elastic's integrations"),
        ("logs-kubernetes.audit_logs-default", "Elastic's integrations"),
        ("metrics-x-{cluster}", "Elastic's integrations"),
    ],
)
def test_a_template_that_gives_illegal_or_shared_names_is_refused(template: str, words: str) -> None:
    """The message says what is wrong."""
    with pytest.raises(ValueError, match=words):
        Streams(template)


def test_the_impersonated_user_may_name_the_stream() -> None:
    """As for every sink."""
    batch = batch_of(event("alice", impersonatedUser={"username": "bob"}))

    assert list(Streams("kube-audit-{user}", "impersonated").group(batch)) == ["kube-audit-bob"]


def test_an_event_without_a_time_goes_where_its_batch_does() -> None:
    """A retry on another day must find the same data stream."""
    timeless = event("bob", stageTimestamp=None, requestReceivedTimestamp=None)

    assert streams_of(batch_of(timeless, event("alice")), "audit-{date}-x") == ["audit-2026-11-23-x"]
    assert streams_of(batch_of(timeless), "audit-{date}-x") == ["audit-1970-01-01-x"]
