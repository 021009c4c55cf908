"""The contract of every reader: what `Reader` promises, on files and on real servers."""

from __future__ import annotations

import gzip
import os
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from support.eventlists import event, eventlist
from support.object_places import ObjectPlace, azure_place, gcs_place, s3_place
from support.places import FilePlace
from support.requests import soon, write

from auditsplit import sinks
from auditsplit.archive.reader import Everything, Reader, Source
from auditsplit.archive.readers import open_reader
from auditsplit.decode import batch as batches
from auditsplit.event import Batch
from auditsplit.sinks.failures import SinkFailure

KEY = "cluster={cluster}/user={user}/dt={date}/hour={hour}"
START = datetime(2026, 1, 31, 22, 30, tzinfo=UTC)
USERS = ["alice", "bob", "a/b", "_rejected", "é"]
OBJECTS = {"az": azure_place, "gs": gcs_place, "s3": s3_place}
PLACES = ["az", "file", "gs", "s3"]


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest) -> FilePlace | ObjectPlace:
    """Return a fresh place in each kind of sink that can be read back."""
    if request.param == "file":
        place = FilePlace(request.getfixturevalue("tmp_path"))
        place.url += f"&key={KEY}/audit"
        return place
    return OBJECTS[request.param](request)


class Only:
    """The choice of one user and one hour."""

    depth = 2

    def may_lead(self, folder: str) -> bool:
        """See `Choice.may_lead`."""
        return "user=" not in folder or folder.endswith("/user=alice")

    def may_hold(self, place: str) -> bool:
        """See `Choice.may_hold`."""
        return "/user=alice/" in place and "/hour=23" in place


def batch_of(number: int) -> Batch:
    """Return a batch of five users and two hours."""
    times = [(START + timedelta(minutes=minutes)).isoformat() for minutes in (0, 45)]
    items = [
        event(user, auditID=f"{number} {user} {time}", stageTimestamp=time, requestReceivedTimestamp=time)
        for user in USERS
        for time in times
    ]
    return batches.read(eventlist(items), "default")


def reader_of(url: str) -> Reader:
    """Return the reader of the sink at ``url``."""
    return open_reader(sinks.read_target(url, {}, "authenticated"), os.environ)


def lines_of(reader: Reader, choice: Everything | Only) -> Iterator[bytes]:
    """Yield the lines of the sources that ``choice`` lets through."""
    for source in reader.sources(choice):
        yield from lines_from(source)


def lines_from(source: Source) -> list[bytes]:
    """Return the lines of a source."""
    with source.open() as stream:
        return list(stream)


def lines_in(place: FilePlace | ObjectPlace, *parts: str) -> Counter[bytes]:
    """Return what a test sees in the place below keys with all ``parts``."""
    found: Counter[bytes] = Counter()
    for key, body in place.held().items():
        if all(part in key for part in parts) and not key.startswith("_rejected/"):
            found.update(body.splitlines(keepends=True))
    return found


def test_each_line_is_read_once(place: FilePlace | ObjectPlace) -> None:
    """Of three batches, of which one was retried."""
    sink = place.sink()
    for number in (1, 2, 3, 2):
        write(sink, batch_of(number))
    sink.reject("default", "0" * 64, b"no event\n", soon())

    read = Counter(lines_of(reader_of(place.url), Everything()))

    assert read == lines_in(place)
    assert read.total() == 3 * 2 * len(USERS)


def test_only_the_places_of_a_choice_are_read(place: FilePlace | ObjectPlace) -> None:
    """A user's hour, without the other users and hours."""
    sink = place.sink()
    write(sink, batch_of(1))
    write(sink, batch_of(2))

    read = Counter(lines_of(reader_of(place.url), Only()))

    assert read == lines_in(place, "user=alice/", "hour=23")
    assert read.total() == 2


def test_a_source_names_its_place(place: FilePlace | ObjectPlace) -> None:
    """So that the template's fields can be read from it."""
    write(place.sink(), batch_of(1))

    places = {source.place for source in reader_of(place.url).sources(Everything())}

    assert len(places) == 2 * len(USERS)
    assert any(found.startswith("cluster=default/user=alice/dt=2026-01-31/hour=23") for found in places)


def test_nothing_is_read_of_an_empty_sink(place: FilePlace | ObjectPlace) -> None:
    """A place that no batch was written to has no sources."""
    assert list(reader_of(place.url).sources(Everything())) == []


@pytest.mark.parametrize("scheme", OBJECTS)
def test_a_store_that_is_away_is_named(scheme: str, request: pytest.FixtureRequest) -> None:
    """The reader's error names what was asked."""
    place = OBJECTS[scheme](request)

    with pytest.raises(SinkFailure, match="list"):
        list(reader_of(place.dead_url).sources(Everything()))


def test_rotated_and_compressed_files_are_read(tmp_path: Path) -> None:
    """Also where an operator has compressed them since."""
    place = FilePlace(tmp_path)
    write(place.sink(), batch_of(1))
    expected = lines_in(place)
    audit = next(Path(urlsplit(place.url).path).glob("kube-audit-alice/audit"))
    with gzip.open(audit.with_name("audit~2026-01-31T23-59-59.000.gz"), "wb") as rotated:
        rotated.write(audit.read_bytes())
    audit.unlink()

    sources = list(reader_of(place.url).sources(Everything()))

    assert Counter(line for source in sources for line in lines_from(source)) == expected
    assert "kube-audit-alice/audit" in {source.place for source in sources}
