"""Delivery of a batch: straight into the sinks, or to a function as kube-apiserver posts to it."""

from __future__ import annotations

from http import HTTPStatus
from pathlib import Path
from typing import NamedTuple, Protocol

from auditsplit.deadline import REQUEST_S, Deadline
from auditsplit.decode.batch import Form
from auditsplit.errors import Busy, SinkError, Undecodable
from auditsplit.ingest import Ingest
from auditsplit.telemetry.figures import Figures
from auditsplit.webhook.answers import Answer
from auditsplit.webhook.failures import Unreachable
from auditsplit.webhook.kubeconfig.schema import Kubeconfig
from auditsplit.webhook.sender import Sender

_TIMEOUT_S = 30.0  # as kube-apiserver's webhook client
_LONGEST_RETRY_AFTER_S = 300.0
_SMALL_BYTES = 16 * 1024
"""A server that refuses a body of this size as too large is set up wrongly. Its events must not all be set aside."""

_USER_AGENT = "auditsplit-ship"


class Outcome(NamedTuple):
    """What became of a delivered batch."""

    events: int
    rejected: int = 0
    duplicates: int = 0
    """Events of a batch that was delivered before."""


class NotDelivered(Exception):
    """The batch was not delivered, and must be sent again. The message says why."""

    def __init__(self, reason: str, retry_after_s: float = 0.0) -> None:
        """Keep the reason, and after how many seconds the receiver wants the next try."""
        super().__init__(reason)
        self.retry_after_s = retry_after_s


class TooLarge(Exception):
    """The receiver never takes a body of this size. Fewer lines may fit."""


class Delivery(Protocol):
    """Delivers batches."""

    def deliver(self, body: bytes) -> Outcome:
        """Return once the lines of ``body`` are durable.

        Raises:
            NotDelivered: They are not, and may be sent again.
            TooLarge: They are too many bytes.
        """


class ToSinks:
    """Delivers straight into the configured sinks."""

    def __init__(self, ingest: Ingest, cluster: str) -> None:
        """Keep the use case, and the cluster that the events are from."""
        self._ingest, self._cluster = ingest, cluster

    def deliver(self, body: bytes) -> Outcome:
        """Write the lines to every sink; see `Delivery`."""
        form = Form(lines=True, recorded=True)
        try:
            receipt = self._ingest.receive(body, self._cluster, Deadline.after(REQUEST_S), Figures(), form)
        except Undecodable:  # no line is an event, and all are in _rejected/
            return Outcome(0, body.count(b"\n"))
        except (SinkError, Busy) as error:
            raise NotDelivered(str(error)) from error
        rejected = sum(item.items for item in receipt.rejected)
        return Outcome(receipt.events, rejected, receipt.events if receipt.alreadyStored else 0)


class ToFunction:
    """Posts to a function as the kubeconfig says."""

    def __init__(self, document: Kubeconfig, folder: Path) -> None:
        """Keep the kubeconfig, which has no errors, and the ``folder`` in which its relative paths start."""
        self._sender = Sender(document, folder, user_agent=_USER_AGENT)

    def deliver(self, body: bytes) -> Outcome:
        """Post the lines; see `Delivery`. A redirect is not followed."""
        try:
            answer = self._sender.post(body, _TIMEOUT_S, content_type="application/x-ndjson")
        except Unreachable as error:
            raise NotDelivered(str(error)) from error
        return _outcome(answer, len(body))


def _outcome(answer: Answer, size: int) -> Outcome:
    receipt = answer.receipt
    if answer.status == HTTPStatus.OK and receipt is not None:
        return Outcome(receipt.events, receipt.rejected, receipt.events if receipt.already_stored else 0)
    if answer.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE and size > _SMALL_BYTES:
        raise TooLarge(answer.refusal())
    if answer.status == HTTPStatus.BAD_REQUEST and answer.code == Undecodable.code:
        return Outcome(0, 1)
    raise NotDelivered(_reason(answer), min(answer.retry_after_s, _LONGEST_RETRY_AFTER_S))


def _reason(answer: Answer) -> str:
    """Return why a batch with this answer is not delivered."""
    if answer.status in range(200, 300):
        return f"{answer.status}, but without a receipt of auditsplit. Another server answers at this URL"
    if answer.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return f"413 for less than {_SMALL_BYTES} bytes. Raise the limit of that server, or of the proxy before it"
    return answer.refusal()
