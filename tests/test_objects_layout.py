"""Layout: keys and bytes of objects, and the options of all object stores."""

from __future__ import annotations

import gzip
import importlib.util
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from support.eventlists import PROPERTY, event, eventlist

from auditsplit import sinks
from auditsplit.decode import batch as batches
from auditsplit.event import Batch, Origin
from auditsplit.routing.template import KeyTemplate
from auditsplit.sinks.objects import layout as layouts
from auditsplit.sinks.objects.layout import PACKINGS, Layout
from auditsplit.sinks.objects.options import Tags, layout_of

TIME = "2026-01-31T23:59:59.123456Z"


def batch_of(*items: bytes, arrived: datetime | None = None) -> Batch:
    """Return the batch of ``items`` that arrived at ``arrived``."""
    batch = batches.read(eventlist(items), "prod")
    return Batch(batch.id, Origin("prod", arrived or batch.origin.arrived), batch.events, batch.bad)


def keys(batch: Batch, layout: Layout | None = None) -> list[str]:
    """Return the keys of the batch's objects."""
    layout = layout or Layout()
    groups = layout.group(batch)
    return [layout.render("prod", folder, events)[0] for folder, events in groups.items()]


def test_a_key_has_cluster_user_hour_time_and_content() -> None:
    """The layout of the documentation."""
    (key,) = keys(batch_of(event("alice", stageTimestamp=TIME)), Layout("logs/"))

    assert re.fullmatch(
        r"logs/cluster=prod/user=alice/dt=2026-01-31/hour=23/20260131T235959\.123456Z-[0-9a-f]{32}\.jsonl\.gz", key
    )


def test_a_batch_across_an_hour_makes_two_objects_a_user() -> None:
    """The hour is the event's, not the batch's."""
    later = "2026-02-01T00:00:00.000000Z"

    several = keys(batch_of(event(stageTimestamp=TIME), event(stageTimestamp=later), event(stageTimestamp=TIME)))

    assert [re.findall(r"dt=.*/hour=..", key) for key in several] == [
        ["dt=2026-01-31/hour=23"],
        ["dt=2026-02-01/hour=00"],
    ]


def test_a_retry_has_the_same_keys_whenever_it_arrives() -> None:
    """Events without a time have the batch's first time."""
    items = [event("bob", stageTimestamp=None, requestReceivedTimestamp=None), event("alice", stageTimestamp=TIME)]
    first, retry = (batch_of(*items, arrived=datetime(2026, 5, 1, hour, tzinfo=UTC)) for hour in (1, 2))

    assert keys(first) == keys(retry)
    assert "user=bob/dt=2026-01-31/hour=23" in keys(first)[0]


def test_a_batch_without_any_time_lies_in_1970() -> None:
    """A retry has no other time in common with it."""
    (key,) = keys(batch_of(event(stageTimestamp=None, requestReceivedTimestamp="yesterday")))

    assert "dt=1970-01-01/hour=00/19700101T000000.000000Z-" in key


@PROPERTY
@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 7200)), min_size=1, max_size=30))
def test_every_event_is_in_one_object(made: list[tuple[str, int]]) -> None:
    """In their order within a user and hour, under keys that all differ."""
    start = datetime(2026, 1, 31, 22, 30, tzinfo=UTC)
    items = [
        event(user, auditID=str(number), stageTimestamp=(start + timedelta(seconds=seconds)).isoformat())
        for number, (user, seconds) in enumerate(made)
    ]
    layout, batch = Layout(), batch_of(*items)

    objects = [layout.render("prod", folder, events) for folder, events in layout.group(batch).items()]

    read = [[int(json.loads(line)["auditID"]) for line in gzip.decompress(body).splitlines()] for _, body in objects]
    assert len({key for key, _ in objects}) == len(objects)
    assert sorted(number for numbers in read for number in numbers) == list(range(len(made)))
    assert all(numbers == sorted(numbers) for numbers in read)


def test_the_content_and_the_cluster_make_the_name() -> None:
    """Other lines, or the same lines of another cluster, are another object."""
    layout = Layout(template=KeyTemplate("all"))
    one, other = batch_of(event(auditID="1")).events, batch_of(event(auditID="2")).events

    names = {layout.render(cluster, "all", events)[0] for cluster in ("a", "b") for events in (one, other)}

    assert len(names) == 4


def test_packing_makes_the_same_bytes_again_and_unpacks_to_the_lines() -> None:
    """A server without conditional puts gets the same bytes twice."""
    text = b'{"a":1}\n' * 1000
    unpack: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.decompress, "zstd": zstandard.decompress, "none": bytes}

    for name, packing in PACKINGS.items():
        assert packing.pack(text) == packing.pack(text)
        assert unpack[name](packing.pack(text)) == text


def test_packed_objects_one_after_the_other_are_one_file() -> None:
    """A later compaction is a copy of bytes."""
    packed = PACKINGS["gzip"].pack(b"1\n") + PACKINGS["gzip"].pack(b"2\n")

    assert gzip.decompress(packed) == b"1\n2\n"


@pytest.mark.parametrize(
    ("url", "mistake"),
    [
        ("s3://bucket/a/../c", "prefix: '..' is not a valid name"),
        ("s3://bucket/a//c", "prefix: '' is not a valid name"),
        ("s3://bucket/a%20b", "prefix: 'a b' is not a valid name"),
        ("s3://bucket/a?compress=lzma", "compress: must be gzip, zstd or none, not 'lzma'"),
        ("s3://bucket/" + "p" * 700, "key: with its prefix it can grow to 1204 bytes, over 1024"),
        ("s3://bucket/a?key={user}/{verb}/{resource}/{namespace}/{level}/{stage}", "bytes, over 1024"),
        ("s3://bucket?timeout=26", "timeout: must be a whole number from 1 to 25, not '26'; kube-apiserver waits 30 s"),
        ("s3://bucket?puts=0", "puts: must be a whole number of 1 or more, not '0'"),
    ],
)
def test_mistakes_in_a_url_are_reported(url: str, mistake: str) -> None:
    """A deployer reads what is wrong before the first event arrives."""
    with pytest.raises(ValueError, match=re.escape(mistake)):
        sinks.read_target(url, {}, "authenticated")


def test_a_missing_package_for_zstd_is_a_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reported at the start, not at the first batch."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)

    message = "compress: zstd requires the package zstandard. Install auditsplit with the extra 'zstd'"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        sinks.read_target("s3://bucket?compress=zstd", {}, "authenticated")


@pytest.mark.parametrize(("path", "prefix"), [("", ""), ("/", ""), ("/a/b", "a/b/"), ("/a/b/", "a/b/")])
def test_a_prefix_is_empty_or_ends_in_a_slash(path: str, prefix: str) -> None:
    """Without a prefix, keys begin with the template's own text."""
    target: Any = sinks.read_target(f"s3://bucket{path}", {}, "authenticated")

    assert layout_of(target).prefix == prefix


def test_the_longest_key_is_calculated() -> None:
    """A key of the longest values is as long as the template says."""
    template = KeyTemplate(layouts.DEFAULT_KEY)
    long = "X" * 300
    batch = batch_of(event(long))

    assert template.max_bytes == len(template.key(batch.events[0], Origin(long, batch.origin.arrived)))


def test_tags_are_pairs() -> None:
    """As S3 and Azure expect them; their text reads as the same tags."""
    tags = Tags.from_option("team=security,kind=audit log", "authenticated")

    assert dict(tags.pairs) == {"team": "security", "kind": "audit log"}
    assert tags.urlencoded() == "team=security&kind=audit+log"
    assert Tags.from_option(str(tags), "authenticated") == tags


@pytest.mark.parametrize("text", ["a", "=b", "a=b,c", ",".join(f"t{n}=1" for n in range(11))])
def test_wrong_tags_are_a_mistake(text: str) -> None:
    """No more than ten, each with a name."""
    with pytest.raises(ValueError, match=r"^tags: must be up to 10 pairs as in team=security,kind=audit, not "):
        sinks.read_target(f"s3://bucket?tags={text}", {}, "authenticated")
