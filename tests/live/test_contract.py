"""The contract of every store: what `Sink` promises, on files, in memory and on real servers."""

from __future__ import annotations

import json
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from support.eventlists import event, eventlist
from support.places import PLACES, Place
from support.requests import soon, write

from auditsplit.decode import batch as batches
from auditsplit.errors import SinkError
from auditsplit.event import Batch
from auditsplit.sinks import Sink

START = datetime(2026, 1, 31, 22, 59, 50, tzinfo=UTC)
HOSTILE_USERS = [
    "../../etc/passwd",
    "/",
    "%2F",
    ".",
    "..",
    "_rejected",
    "alice/",
    "alice",
    "Alice",
    "alice2",
    "user=bob",
    "a b\tc\n\0",
    "x" * 300,
    "x" * 299 + "y",
    "é",
    "é",
    "👩‍🚀",
    "system:serviceaccount:ns:x",
    "?*<>|\"'&;$(id)",
    "\\\\host\\share",
    "{user}",
    "none",
]


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest) -> Place:
    """Return a fresh place in each kind of store."""
    return PLACES[request.param](request)


def batch_of(users: list[str], events: int = 60, start: datetime = START) -> Batch:
    """Return a batch of ``events`` by ``users`` in turn, a second apart, across an hour, and two without a user.

    Batches of different length or ``start`` have no event in common.
    """
    label = f"of {events} from {start.isoformat()}"
    times = [(start + timedelta(seconds=number)).isoformat() for number in range(events)]
    items = [
        event(users[number % len(users)], auditID=f"{number} {label}", stageTimestamp=time)
        for number, time in enumerate(times)
    ]
    items += [event(None, auditID=f"no user {label}", stageTimestamp=times[0])]
    items += [event("", auditID=f"empty {label}", stageTimestamp=None, requestReceivedTimestamp=None)]
    return batches.read(eventlist(items), "default")


def expected(*several: Batch) -> dict[str, list[str]]:
    """Return the events' ids by user, in order."""
    found: dict[str, list[str]] = {}
    for batch in several:
        for held in batch.events:
            document = json.loads(bytes(held.raw))
            found.setdefault(document["user"].get("username") or "", []).append(document["auditID"])
    return found


def stored(place: Place) -> dict[str, list[str]]:
    """Return the ids by user, in the order of keys and lines; two users in one place, or rejects, fail the test."""
    found: dict[str, list[str]] = {}
    for key, text in sorted(place.held().items()):
        documents = [json.loads(line) for line in text.splitlines()]
        users = {document["user"].get("username") or "" for document in documents}
        assert len(users) == 1, key
        assert not key.startswith("_rejected")
        found.setdefault(users.pop(), []).extend(document["auditID"] for document in documents)
    return found


def counted(found: dict[str, list[str]]) -> dict[str, Counter[str]]:
    """Return how often each id is there, by user."""
    return {user: Counter(ids) for user, ids in found.items()}


def test_each_users_events_lie_apart_once_and_in_order(place: Place) -> None:
    """Every user's events come back from places of that user alone, in their order."""
    batch = batch_of(["alice", "bob", "carol"])

    new = write(place.sink(), batch)

    assert new
    assert stored(place) == expected(batch)


def test_a_line_is_the_one_of_the_log_backend(place: Place) -> None:
    """What lies in the store is the item's bytes with its kind and API version put first."""
    batch = batches.read(eventlist([event("alice", auditID="1")]), "default")

    write(place.sink(), batch)

    (text,) = place.held().values()
    assert text == b'{"kind":"Event","apiVersion":"audit.k8s.io/v1",' + event("alice", auditID="1")[1:] + b"\n"


def test_the_recorded_events_come_back(place: Place, recorded: list[bytes]) -> None:
    """Seven batches of a real kube-apiserver are stored, each event once."""
    several = [batches.read(body, "default") for body in recorded]
    sink = place.sink()

    assert all([write(sink, batch) for batch in several])  # noqa: C419 - each must be written

    assert counted(stored(place)) == counted(expected(*several))


def test_a_batch_sent_five_times_is_stored_once(place: Place) -> None:
    """The later four are no news, whether the process is the same or another one."""
    batch = batch_of(["alice", "bob"])
    sink = place.sink()

    news = [write(sink, batch), write(sink, batch), *(write(place.sink(), batch) for _ in range(3))]

    assert news == [True, False, False, False, False]
    assert stored(place) == expected(batch)


def test_a_batch_sent_five_times_at_once_is_stored_once(place: Place) -> None:
    """Five threads, each with the store as a process of its own has it."""
    batch = batch_of(["alice", "bob", "carol"])
    together = threading.Barrier(5)

    def write_together(sink: Sink) -> bool:
        together.wait()
        return write(sink, batch)

    with ThreadPoolExecutor(5) as pool:
        list(pool.map(write_together, [place.sink() for _ in range(5)]))

    assert stored(place) == expected(batch)


@pytest.mark.parametrize("puts", [0, 1, 2, 3])
def test_a_batch_broken_off_between_two_users_is_whole_after_the_retry(place: Place, puts: int) -> None:
    """After a death within the batch, the retry gives one copy of each event."""
    batch = batch_of(["alice", "bob", "carol"])
    with pytest.raises(SinkError):
        write(place.dying(puts), batch)

    write(place.sink(), batch)

    assert stored(place) == expected(batch)


def test_another_batch_may_come_before_the_retry(place: Place) -> None:
    """The apiserver sends batches side by side, so a broken one's retry may come after later ones."""
    first, other = batch_of(["alice", "bob"]), batch_of(["carol"], start=START + timedelta(hours=5))
    with pytest.raises(SinkError):
        write(place.dying(1), first)
    sink = place.sink()

    write(sink, other)
    write(sink, first)

    assert counted(stored(place)) == counted(expected(first, other))


def test_different_batches_of_one_user_are_all_kept(place: Place) -> None:
    """Also where they begin at the same time."""
    several = [batch_of(["alice"], events=number) for number in (1, 2, 3)]
    sink = place.sink()

    assert [write(sink, batch) for batch in several] == [True, True, True]

    assert sum(map(len, stored(place).values())) == sum(len(batch.events) for batch in several)


def test_hostile_user_names_have_places_of_their_own(place: Place) -> None:
    """No name leaves the store's place, meets another name's, or is changed on its way."""
    batch = batch_of(HOSTILE_USERS, events=2 * len(HOSTILE_USERS))

    write(place.sink(), batch)

    held = stored(place)
    assert held == expected(batch)
    assert all(not segment.startswith(".") for key in place.held() for segment in key.split("/"))


def test_a_batch_without_events_stores_nothing(place: Place) -> None:
    """An empty EventList is taken."""
    assert write(place.sink(), batches.read(eventlist([]), "default"))
    assert place.held() == {}


def test_a_reject_lies_in_the_store_once(place: Place) -> None:
    """The same body again is one, in the place that is told, byte for byte."""
    body = b"\x1f\x8b no \xff event"
    digest = batches.digest(body, "default")

    places = {place.sink().reject("default", digest, body, soon()) for _ in range(3)}

    assert places == {f"_rejected/default/{digest}"}
    assert place.held() == {f"_rejected/default/{digest}": body}


def test_a_check_leaves_nothing_behind(place: Place) -> None:
    """A store that takes events says so as often as it is asked, and looks the same afterwards."""
    sink = place.sink()

    for _ in range(3):
        sink.recover()
        sink.check(soon())

    assert place.held() == {}


def test_a_dead_store_says_so(place: Place) -> None:
    """Each call raises `SinkError`, in good time."""
    sink = place.dead()
    began = datetime.now(UTC)

    with pytest.raises(SinkError):
        sink.check(soon())
    with pytest.raises(SinkError):
        write(sink, batch_of(["alice", "bob"]))
    with pytest.raises(SinkError):
        sink.reject("default", "0" * 64, b"no event", soon())

    assert datetime.now(UTC) - began < timedelta(seconds=20)
