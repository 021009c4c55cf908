"""Compaction on a real S3 server: each line once, whatever happens in between."""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
from support import servers
from support.commands import auditsplit
from support.eventlists import event, eventlist
from support.interrupted import InterruptedStore, Killed
from support.object_places import ObjectPlace, azure_place, gcs_place, s3_client, s3_place, s3_url
from support.requests import write

from auditsplit import bootstrap, sinks
from auditsplit.archive import stores
from auditsplit.archive.compact import Outcome, compact
from auditsplit.archive.joined import MANIFESTS, is_joined
from auditsplit.archive.objects import Hours, NoManifest, ObjectReader
from auditsplit.archive.reader import Everything
from auditsplit.archive.stores import Store
from auditsplit.decode import batch as batches
from auditsplit.event import Batch
from auditsplit.sinks import Sink
from auditsplit.sinks.objects.options import ObjectOptions
from auditsplit.sinks.options import Target

START = datetime(2026, 1, 31, 22, 10, tzinfo=UTC)
NOW = datetime(2026, 2, 1, 12, tzinfo=UTC)
BATCHES = 3
PLACES = {"az": azure_place, "gs": gcs_place, "s3": s3_place}


@pytest.fixture
def place(request: pytest.FixtureRequest) -> ObjectPlace:
    """Return a place on S3 with some batches of alice within an hour."""
    place = s3_place(request)
    for number in range(BATCHES):
        write(sink_of(place), batch_of(number))
    return place


def batch_of(number: int, *users: str) -> Batch:
    """Return a batch of ``users``, or of alice, with other events for each ``number``."""
    time = (START + timedelta(minutes=number)).isoformat()
    items = [event(user, auditID=f"{user} {number}", stageTimestamp=time) for user in users or ("alice",)]
    return batches.read(eventlist(items), "default")


@functools.cache
def sink_of(place: ObjectPlace) -> Sink:
    """Return the sink of a place. A client of its own for each write would take most of the time."""
    return place.sink()


@functools.cache
def store_of(place: ObjectPlace) -> Store:
    """Return the store of a place."""
    return stores.open_store(_target(place), os.environ)


def compacted(place: ObjectPlace, store: Store | None = None, max_bytes: int = 10**6) -> list[Outcome]:
    """Compact the place, and return what became of the hours. One worker keeps the order of the steps."""
    hours = Hours(store or store_of(place), place.prefix)
    return list(compact(hours, timedelta(hours=2), max_bytes, 1, NOW))


def read(place: ObjectPlace, store: Store | None = None) -> Counter[bytes]:
    """Return the lines as a reader finds them."""
    reader = ObjectReader("place", store or store_of(place), _target(place))
    lines: Counter[bytes] = Counter()
    for source in reader.sources(Everything()):
        with source.open() as stream:
            lines.update(stream)
    return lines


def data(place: ObjectPlace) -> dict[str, bytes]:
    """Return the objects with events, decompressed."""
    return {key: body for key, body in place.held().items() if not key.startswith(f"{MANIFESTS}/")}


def expect_whole(place: ObjectPlace, expected: Counter[bytes]) -> None:
    """Compact once more, and expect each line once, in one object for each place and hour."""
    assert not [outcome.problem for outcome in compacted(place) if outcome.problem]
    found: Counter[bytes] = Counter()
    for body in data(place).values():
        found.update(body.splitlines(keepends=True))
    assert found == expected
    assert read(place) == expected
    assert len(data(place)) == len({key.rpartition("/")[0] for key in data(place)})


def interrupted(place: ObjectPlace, run: Callable[[Store], Any], then: Callable[[], None]) -> Iterator[None]:
    """Call ``run`` with ``then`` before its first step, its second step and so on.

    Yields after each run. Ends after a run that had fewer steps.
    """
    for at in itertools.count():
        store = InterruptedStore(store_of(place), at, then)
        with contextlib.suppress(Killed):
            run(store)
        yield
        if not store.was_interrupted:
            assert at > BATCHES
            return


def again(place: ObjectPlace) -> Counter[bytes]:
    """Empty the place and write its batches again. Return their lines."""
    store = store_of(place)
    for key in list(place.raw()):
        store.delete(place.prefix + key)
    for number in range(BATCHES):
        write(sink_of(place), batch_of(number))
    return read(place)


def die() -> None:
    """Kill the process."""
    raise Killed


def test_an_hour_becomes_one_object_with_the_same_lines(place: ObjectPlace) -> None:
    """One for each user. Its bytes are those of the parts, one after another, and a second run changes nothing."""
    write_bobs(place)
    before = place.raw()
    expected = read(place)

    outcomes = compacted(place)

    assert [(outcome.parts, outcome.deleted) for outcome in outcomes] == [(BATCHES, BATCHES)] * 2
    after = {key: body for key, body in place.raw().items() if not key.startswith(f"{MANIFESTS}/")}
    assert len(after) == 2
    assert all(map(is_joined, after))
    assert sorted(after.values()) == sorted(
        b"".join(body for key, body in sorted(before.items()) if f"user={user}/" in key) for user in ("alice", "bob")
    )
    whole = place.raw()
    assert compacted(place) == []
    assert place.raw() == whole
    expect_whole(place, expected)


def test_a_kill_at_any_step_loses_and_doubles_nothing(place: ObjectPlace) -> None:
    """A reader finds each line once right after the kill, and the next run finishes."""
    expected = read(place)
    for _ in interrupted(place, lambda store: compacted(place, store), die):
        assert read(place) == expected
        expect_whole(place, expected)
        again(place)


def test_two_runs_at_once_make_one_object(place: ObjectPlace) -> None:
    """The second one runs between any two steps of the first one."""
    expected = read(place)
    for _ in interrupted(place, lambda store: compacted(place, store), lambda: _run(place)):
        assert read(place) == expected
        expect_whole(place, expected)
        again(place)


def test_late_objects_join_at_the_next_run(place: ObjectPlace) -> None:
    """A batch of the hour that comes between any two steps, with another run after it."""
    write(sink_of(place), batch_of(BATCHES))
    expected = read(place)
    again(place)

    def arrive() -> None:
        write(sink_of(place), batch_of(BATCHES))
        compacted(place)

    for _ in interrupted(place, lambda store: compacted(place, store), arrive):
        write(sink_of(place), batch_of(BATCHES))
        assert read(place) == expected
        expect_whole(place, expected)
        again(place)


def test_a_retry_of_a_joined_batch_is_no_duplicate(place: ObjectPlace) -> None:
    """The apiserver sends a batch again between any two steps. Its object has its old name, which the manifest has."""
    expected = read(place)
    for _ in interrupted(place, lambda store: compacted(place, store), lambda: retry(place)):
        retry(place)
        assert read(place) == expected
        expect_whole(place, expected)
        again(place)


def test_a_reader_in_the_middle_reads_each_line_once(place: ObjectPlace) -> None:
    """The compaction runs between any two steps of the reader, also when it joins late objects to joined ones."""
    expected = read(place)

    def run() -> None:
        compacted(place)
        write(sink_of(place), batch_of(0))
        compacted(place)

    found: list[Counter[bytes]] = []
    for _ in interrupted(place, lambda store: found.append(read(place, store)), run):
        assert found.pop() == expected
        again(place)


def test_a_reader_follows_an_object_that_was_joined_anew(place: ObjectPlace) -> None:
    """A joined object that is gone by the time it is opened is read from its successor."""
    compacted(place)
    expected = read(place)
    sources = list(ObjectReader("place", store_of(place), _target(place)).sources(Everything()))
    write(sink_of(place), batch_of(BATCHES))
    compacted(place)

    found: Counter[bytes] = Counter()
    for source in sources:
        with source.open() as stream:
            found.update(stream)

    assert found == expected


def test_a_young_hour_stays_as_it_is(place: ObjectPlace) -> None:
    """The apiserver may still retry its batches."""
    hours = Hours(store_of(place), place.prefix)
    before = place.raw()

    outcomes = list(compact(hours, timedelta(hours=2), 10**6, 1, START + timedelta(hours=2)))

    assert outcomes == []
    assert place.raw() == before


def test_an_hour_that_is_too_large_stays_as_it_is(place: ObjectPlace) -> None:
    """The outcome says which option to raise."""
    before = place.raw()

    outcomes = compacted(place, max_bytes=10)

    assert all("--max-bytes" in outcome.problem for outcome in outcomes)
    assert len(outcomes) == 1
    assert place.raw() == before


def test_a_damaged_object_keeps_its_hour_as_it_is(place: ObjectPlace) -> None:
    """The other user's hour is joined."""
    write_bobs(place)
    key = next(key for key in place.raw() if "user=alice/" in key)
    s3_client(_endpoint(place)).put_object(Bucket=servers.BUCKET, Key=place.prefix + key, Body=b"\x1f\x8bdamaged")

    outcomes = compacted(place)

    assert sorted((outcome.deleted, key in outcome.problem) for outcome in outcomes) == [(0, True), (BATCHES, False)]
    assert len([key for key in data_keys(place) if "user=alice/" in key]) == BATCHES


def test_a_joined_object_without_its_manifest_is_named(place: ObjectPlace) -> None:
    """Nobody can tell which objects it holds, so nothing is read or deleted beside it."""
    compacted(place)
    manifest = next(key for key in place.raw() if key.startswith(f"{MANIFESTS}/"))
    store_of(place).delete(place.prefix + manifest)
    write(sink_of(place), batch_of(BATCHES))

    (outcome,) = compacted(place)

    assert manifest in outcome.problem
    assert len(data_keys(place)) == 2
    with pytest.raises(NoManifest):
        read(place)


def test_a_joined_object_with_other_lines_deletes_nothing(place: ObjectPlace) -> None:
    """What was read back is compared with the manifest before a part is deleted."""

    class Corrupting(InterruptedStore):
        def put(self, key: str, body: bytes, content_type: str) -> bool:
            other = next(iter(place.raw().values())) if is_joined(key) else body
            return super().put(key, other, content_type)

    before = place.raw()

    outcomes = compacted(place, Corrupting(store_of(place), -1, die))

    assert all("Nothing was deleted" in outcome.problem for outcome in outcomes)
    assert before.items() <= place.raw().items()


@pytest.mark.parametrize("compress", ["none", "zstd"])
def test_other_packings_are_joined_too(compress: str, request: pytest.FixtureRequest) -> None:
    """Plain lines and zstd frames."""
    place = s3_place(request, compress=compress)
    for number in range(BATCHES):
        write(sink_of(place), batch_of(number))
    expected = read(place)

    compacted(place)

    assert read(place) == expected
    assert len(data_keys(place)) == 1
    assert expected.total() == BATCHES


@pytest.mark.parametrize("scheme", PLACES)
def test_each_store_is_compacted(scheme: str, request: pytest.FixtureRequest) -> None:
    """On each store's own server."""
    place = PLACES[scheme](request)
    for number in range(BATCHES):
        write(sink_of(place), batch_of(number))
    expected = read(place)

    assert not store_of(place).is_locked()
    expect_whole(place, expected)
    retry(place)
    expect_whole(place, expected)


def test_the_command_says_what_it_did(place: ObjectPlace) -> None:
    """A second run has nothing to do."""
    first = auditsplit("compact", AUDIT_SINKS=place.url)
    second = auditsplit("compact", "--output", "json", AUDIT_SINKS=place.url)

    assert "1 places and hours became one object each, 3 objects were deleted" in first.out
    assert '"deleted": 0' in second.out


def test_the_command_names_an_hour_that_it_can_not_join(place: ObjectPlace) -> None:
    """It exits with 1."""
    said = auditsplit("compact", "--max-bytes", "10", expected=1, AUDIT_SINKS=place.url)

    assert "user=alice" in said.talk
    assert "--max-bytes" in said.talk


def test_a_bucket_that_locks_its_objects_is_left_alone(place: ObjectPlace) -> None:
    """Deletes there would only hide the objects, which stay and are paid for."""
    client = s3_client(_endpoint(place))
    client.create_bucket(Bucket="locked", ObjectLockEnabledForBucket=True)
    url = s3_url(_endpoint(place), "audit").replace(f"s3://{servers.BUCKET}/", "s3://locked/")
    for number in range(BATCHES):
        write(sinks.from_url(url), batch_of(number))
    before = client.list_objects_v2(Bucket="locked")["KeyCount"]

    said = auditsplit("compact", AUDIT_SINKS=url)

    assert "left alone" in said.out
    assert client.list_objects_v2(Bucket="locked")["KeyCount"] == before == BATCHES


def test_the_command_requires_an_object_store() -> None:
    """A file sink is not compacted."""
    said = auditsplit("compact", expected=2, AUDIT_SINKS="file:var/log")

    assert "AUDIT_SINKS" in said.talk


def test_the_scheduled_function_compacts_the_sink(place: ObjectPlace) -> None:
    """With the settings of a function that receives nothing."""
    expected = read(place)

    counts = bootstrap.compaction({"AUDIT_SINKS": place.url, "AWS_LAMBDA_FUNCTION_NAME": "compact"}).run({})

    assert (counts["hours"], counts["deleted"]) == (1, BATCHES)
    assert read(place) == expected


def test_credentials_that_may_only_put_are_refused(request: pytest.FixtureRequest) -> None:
    """Those of the function."""
    place = s3_place(request, "put-only")

    said = auditsplit("compact", expected=1, AUDIT_SINKS=place.url)

    assert "403" in said.talk
    assert "Traceback" not in said.talk


def data_keys(place: ObjectPlace) -> list[str]:
    """Return the keys of the objects with events."""
    return [key for key in place.raw() if not key.startswith(f"{MANIFESTS}/")]


def write_bobs(place: ObjectPlace) -> None:
    """Write batches of bob too."""
    for number in range(BATCHES):
        write(sink_of(place), batch_of(number, "bob"))


def retry(place: ObjectPlace) -> None:
    """Send the first batch again, to another process."""
    write(sink_of(place), batch_of(0))


def _run(place: ObjectPlace) -> None:
    compacted(place)


def _target(place: ObjectPlace) -> Target[ObjectOptions]:
    return cast("Target[ObjectOptions]", sinks.read_target(place.url, {}, "authenticated"))


def _endpoint(place: ObjectPlace) -> str:
    return str(getattr(_target(place).options, "endpoint_url", ""))
