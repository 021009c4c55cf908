"""Ingest: all sinks hold a batch before it is acknowledged, and a retry delivers what is missing."""

from __future__ import annotations

import json

import msgspec
import pytest
from blake3 import blake3
from support.eventlists import event, eventlist, line, numbered
from support.requests import BODY, LINES, memory_sinks, receive

from auditsplit.deadline import Deadline
from auditsplit.decode import batch as batches
from auditsplit.decode import eventlist as decoding
from auditsplit.decode.batch import Form
from auditsplit.errors import Busy, SinkError, Undecodable
from auditsplit.event import Batch, Event
from auditsplit.ingest import Destination, Ingest
from auditsplit.policy.redaction import Redaction
from auditsplit.receipts import Recent
from auditsplit.routing.template import KeyTemplate
from auditsplit.sinks import Sink, Written
from auditsplit.sinks.memory import MemorySink
from auditsplit.telemetry.figures import Figures

DOWN = SinkError("the disk is full")


def test_every_sink_holds_the_batch() -> None:
    """The receipt tells what was stored, and every sink has it."""
    some = memory_sinks(3)

    receipt = receive(BODY, "prod", some)

    assert [store.objects for store in some] == [LINES] * 3
    assert receipt.to_dict() == {
        "cluster": "prod",
        "batch": blake3(b"prod\0" + BODY).hexdigest(),
        "events": 3,
        "rejected": [],
        "alreadyStored": False,
    }


@pytest.mark.parametrize("failing", [0, 1, 2])
def test_a_retry_finishes_only_the_rest(failing: int) -> None:
    """If one sink is down, the batch fails. The retry goes to the sink that lacks it, and no sink stores it twice."""
    some = memory_sinks(3)
    some[failing].failure = DOWN
    with pytest.raises(SinkError, match="the disk is full"):
        receive(BODY, "prod", some)
    assert some[failing].objects == {}
    some[failing].failure = None

    receipt = receive(BODY, "prod", some)

    assert [store.objects for store in some] == [LINES] * 3
    assert not receipt.alreadyStored
    assert receipt.events == 3


def test_every_sink_is_tried() -> None:
    """When one sink is down, the others still receive the batch. The error names all that are down."""
    some = memory_sinks(4)
    some[0].failure, some[2].failure = DOWN, SinkError("the bucket is gone")

    with pytest.raises(SinkError, match=r"^the disk is full; the bucket is gone$"):
        receive(eventlist([event("alice"), b"42"]), "prod", some)

    assert [len(store.objects) for store in some] == [0, 1, 0, 1]
    assert [len(store.rejected) for store in some] == [0, 1, 0, 1]


def test_a_retry_is_recognised() -> None:
    """If every sink has the batch, a retry is acknowledged and changes nothing."""
    some = memory_sinks(2)
    first = receive(BODY, "prod", some)

    second = receive(BODY, "prod", some)

    assert second.alreadyStored
    assert second.batch == first.batch
    assert [store.objects for store in some] == [LINES] * 2


def test_the_same_bytes_of_another_cluster_are_another_batch() -> None:
    """Two clusters may post the same bytes; both are stored."""
    some = memory_sinks(1)
    receive(BODY, "prod", some)

    receipt = receive(BODY, "test", some)

    assert not receipt.alreadyStored
    assert len(some[0].objects["alice"].splitlines()) == 4


def test_a_cluster_and_a_body_can_t_be_mistaken_for_others() -> None:
    """The id tells where the cluster's name ends and the body begins."""
    assert batches.digest(b"b", "a") != batches.digest(b"", "ab")


def test_malformed_items_are_written_to_every_sink() -> None:
    """Malformed items are written to every sink beside the events. The receipt names the reason and the places."""
    some = memory_sinks(2)

    receipt = receive(eventlist([event("alice"), b"42", event("bob"), b'{"user":1}']), "prod", some)

    digests = [blake3(b"prod\0" + raw).hexdigest() for raw in (b"42", b'{"user":1}')]
    kept = {f"_rejected/prod/{digest}": raw for digest, raw in zip(digests, (b"42", b'{"user":1}'), strict=True)}
    assert [store.rejected for store in some] == [kept, kept]
    assert [item.index for item in receipt.rejected] == [1, 3]
    assert [item.kept for item in receipt.rejected] == [[f"memory:/_rejected/prod/{digest}"] * 2 for digest in digests]
    assert all(item.reason for item in receipt.rejected)
    assert receipt.events == 2
    assert all(sorted(store.objects) == ["alice", "bob"] for store in some)


def test_the_receipt_is_a_json_document() -> None:
    """It goes out as the answer."""
    receipt = receive(eventlist([event(), b"42"]), "prod", memory_sinks(1)).to_dict()

    assert json.loads(json.dumps(receipt))["rejected"][0]["index"] == 1


def test_more_bad_items_than_are_told_apart_keep_the_body() -> None:
    """Beyond the first hundred, the whole body is kept, so no byte is lost, and the receipt counts them."""
    some = memory_sinks(2)
    body = eventlist([event(), *[b"[%d]" % number for number in range(decoding.MAX_BAD + 5)]])

    receipt = receive(body, "prod", some)

    place = f"_rejected/prod/{blake3(b'prod' + bytes(1) + body).hexdigest()}"
    assert [store.rejected[place] for store in some] == [body, body]
    assert sum(item.items for item in receipt.rejected) == decoding.MAX_BAD + 5
    assert receipt.rejected[-1].index is None
    assert f"memory:/{place}" in receipt.rejected[-1].kept
    assert receipt.events == 1


@pytest.mark.parametrize("failing", [0, 1])
def test_a_malformed_item_that_no_sink_accepts_fails_the_batch(failing: int) -> None:
    """A malformed item is not lost when a sink is down. The retry writes it, once."""
    some = memory_sinks(2)
    some[failing].failure = DOWN
    body = eventlist([event("alice"), b"42"])
    with pytest.raises(SinkError):
        receive(body, "prod", some)
    some[failing].failure = None

    receive(body, "prod", some)

    assert [list(store.rejected.values()) for store in some] == [[b"42"]] * 2
    assert [store.objects for store in some] == [{"alice": line("alice") + b"\n"}] * 2


def test_a_malformed_body_is_written_to_every_sink() -> None:
    """The error names the reason, the position and each place."""
    some = memory_sinks(2)
    place = f"_rejected/prod/{batches.digest(b'{]', 'prod')}"

    with pytest.raises(Undecodable, match=r"does not match .* at byte 1\. It is written to") as caught:
        receive(b"{]", "prod", some)

    assert [store.rejected for store in some] == [{place: b"{]"}] * 2
    assert caught.value.position == 1
    assert caught.value.detail.count(f"memory:/{place}") == 2


def test_a_malformed_body_that_a_sink_refuses_is_a_sink_failure() -> None:
    """The sender need not act, and retries."""
    some = memory_sinks(2)
    some[1].failure = DOWN

    with pytest.raises(SinkError):
        receive(b"{]", "prod", some)


def test_lines_are_delivered_like_a_list() -> None:
    """A body of lines is a batch too, with its bad lines."""
    some = memory_sinks(2)

    receipt = receive(line("alice") + b"\nnoise\n" + line("bob"), "prod", some, lines=True)

    assert [sorted(store.objects) for store in some] == [["alice", "bob"]] * 2
    assert [list(store.rejected.values()) for store in some] == [[b"noise"]] * 2
    assert [item.index for item in receipt.rejected] == [1]


def test_without_events_there_is_nothing_to_store() -> None:
    """An empty list is acknowledged."""
    some = memory_sinks(2)

    receipt = receive(eventlist([]), "prod", some)

    assert receipt.events == 0
    assert [store.objects for store in some] == [{}, {}]


def test_sinks_may_differ_in_layout() -> None:
    """Each sink has its own places and lines for the same batch."""
    by_user, by_verb = MemorySink(KeyTemplate("{user}")), MemorySink(KeyTemplate("{verb}"), "logstash")

    receive(eventlist(numbered(3)), "prod", [by_user, by_verb])

    assert list(by_user.objects) == ["alice"]
    assert list(by_verb.objects) == ["list"]
    assert by_verb.objects["list"] == b"".join(b'{"event":' + item + b"}\n" for item in numbered(3))


class Refusing:
    """A transform that refuses mallory's events."""

    def apply(self, events: list[Event]) -> list[Event]:
        """Raise for any of them."""
        if any(each.head.user and each.head.user.username == "mallory" for each in events):
            raise Undecodable("its brackets do not match", 7)
        return events


@pytest.mark.parametrize("everywhere", [True, False])
def test_an_event_that_a_transform_refuses_is_rejected_alone(everywhere: bool) -> None:  # noqa: FBT001 - a row's case
    """It is put aside by all sinks as it arrived, and the events beside it are stored."""
    some = memory_sinks(2)
    own = [(), ()] if everywhere else [(), (Refusing(),)]
    here = Ingest(list(map(Destination, some, own)), [Refusing()] if everywhere else [])
    bad = event("mallory")

    receipt = here.receive(eventlist([event("alice"), b"42", bad, event("bob")]), "prod", Deadline.after(9), Figures())

    assert receipt.events == 2
    assert [item.index for item in receipt.rejected] == [1, 2]
    assert receipt.rejected[1].reason == "its brackets do not match at byte 7"
    assert [list(sink.rejected.values()) for sink in some] == [[b"42", bad]] * 2
    assert [sorted(sink.objects) for sink in some] == [["alice", "bob"]] * 2


def test_a_line_that_a_transform_refuses_is_named_by_its_number() -> None:
    """The index of a rejected line counts the lines, also the empty and the malformed ones."""
    [sink] = memory_sinks(1)
    here = Ingest([Destination(sink)], [Refusing()])
    body = line("alice") + b"\n\nnoise\n" + line("mallory") + b"\n" + line("bob")

    receipt = here.receive(body, "prod", Deadline.after(9), Figures(), Form(lines=True))

    assert receipt.events == 2
    assert [item.index for item in receipt.rejected] == [2, 3]


def test_more_events_than_are_told_apart_may_be_refused() -> None:
    """Beyond the first hundred, the whole body is put aside, and the receipt counts the rest."""
    [sink] = memory_sinks(1)
    here = Ingest([Destination(sink)], [Refusing()])
    body = eventlist([event("alice"), *numbered(decoding.MAX_BAD + 5, "mallory")])

    receipt = here.receive(body, "prod", Deadline.after(9), Figures())

    assert receipt.events == 1
    assert sum(item.items for item in receipt.rejected) == decoding.MAX_BAD + 5
    assert body in sink.rejected.values()


def test_an_item_that_redaction_refuses_is_rejected_alone() -> None:
    """Its body has text behind its end, which only redaction notices."""
    [sink] = memory_sinks(1)
    here = Ingest([Destination(sink)], [Redaction.parse("*=managedFields")])
    bad = b'{"level":"Request","objectRef":{"resource":"pods"},"requestObject":{"managedFields":1}x}'

    receipt = here.receive(eventlist([event("alice"), bad]), "prod", Deadline.after(9), Figures())

    assert receipt.events == 1
    assert [item.index for item in receipt.rejected] == [1]
    assert list(sink.rejected.values()) == [bad]


def test_a_retry_is_answered_before_it_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The receipt and the figures are those of the first time, but for `alreadyStored`."""
    some = memory_sinks(2)
    here = Ingest([Destination(sink) for sink in some])
    first, second = Figures(), Figures()
    receipt = here.receive(BODY, "prod", Deadline.after(9), first)
    monkeypatch.setattr(batches, "read", None)

    again = here.receive(BODY, "prod", Deadline.after(9), second)

    assert again == msgspec.structs.replace(receipt, alreadyStored=True)
    assert (second.batch, second.events, second.users) == (first.batch, first.events, first.users)
    assert second.duplicate
    assert [sink.objects for sink in some] == [LINES] * 2


@pytest.mark.parametrize("forgets", ["the sink", "one of two sinks", "a sink that cannot tell"])
def test_a_retry_is_decoded_unless_every_sink_remembers_it(forgets: str) -> None:
    """The receipts in memory alone do not tell that a sink still holds the batch."""
    some = memory_sinks(2 if "two" in forgets else 1)
    sinks: list[Sink] = [Forgetful(some[-1]) if "cannot" in forgets else some[-1], *some[:-1]]
    here = Ingest([Destination(sink) for sink in sinks])
    here.receive(BODY, "prod", Deadline.after(9), Figures())
    some[-1].objects.clear()
    some[-1]._stored.clear()

    again = here.receive(BODY, "prod", Deadline.after(9), Figures())

    assert not again.alreadyStored
    assert some[-1].objects == LINES


class Forgetful:
    """A sink that cannot tell which batches it holds."""

    required = True

    def __init__(self, sink: MemorySink) -> None:
        self.name, self._sink = sink.name, sink

    def write(self, batch: Batch, deadline: Deadline) -> Written:
        """See `Sink.write`."""
        return self._sink.write(batch, deadline)

    def reject(self, cluster: str, digest: str, body: bytes, deadline: Deadline) -> str:
        """See `Sink.reject`."""
        return self._sink.reject(cluster, digest, body, deadline)

    def recover(self) -> None:
        """See `Sink.recover`."""

    def check(self, deadline: Deadline) -> None:
        """See `Sink.check`."""


def test_a_batch_with_malformed_items_is_decoded_each_time() -> None:
    """A retry finds the malformed items still put aside, or puts them aside again."""
    [sink] = memory_sinks(1)
    here = Ingest([Destination(sink)])
    body = eventlist([event("alice"), b"42"])
    here.receive(body, "prod", Deadline.after(9), Figures())
    sink.rejected.clear()

    again = here.receive(body, "prod", Deadline.after(9), Figures())

    assert again.alreadyStored
    assert list(sink.rejected.values()) == [b"42"]


def test_after_the_deadline_nothing_more_is_begun() -> None:
    """The error says what was not begun. A retry is safe."""
    [sink] = memory_sinks(1)

    with pytest.raises(Busy, match="over before decoding"):
        Ingest([Destination(sink)]).receive(BODY, "prod", Deadline.after(0), Figures())

    assert sink.objects == {}


def test_only_the_last_receipts_are_remembered() -> None:
    """Their number is bounded. One that is added again counts as new."""
    recent = Recent[int](2)
    for key in ("a", "b", "a", "c"):
        recent.add(key, ord(key))

    assert [recent.get(key) for key in "abc"] == [ord("a"), None, ord("c")]
