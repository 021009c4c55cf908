"""What kube-apiserver's webhook client makes of an answer. Measured with v1.37, for every status."""

from __future__ import annotations

import json
import re
from http import HTTPStatus
from typing import Any, NamedTuple

_DELIVERED = range(200, 207)
_FOLLOWED_BY_GET = (301, 302, 303)
_FOLLOWED_BY_POST = (307, 308)
_REASONS = {
    401: "the receiver got no credentials, or does not know them",
    403: "the credentials are for another cluster, or the receiver refuses senders from other machines",
    404: "nothing is served at this path. The function serves / and /clusters/<cluster>",
    405: "this path does not accept POST",
    413: "even an empty list is too large for this server",
    415: "this server does not accept JSON",
    429: "too many requests",
}
_UNPRINTABLE = re.compile(r"[^ -~]+")


def printable(text: str) -> str:
    """Return a server's text in printable ASCII, safe for a terminal, at most 400 characters."""
    return _UNPRINTABLE.sub("?", text)[:400]


def retry_after_s(header: str | None) -> float:
    """Return the seconds of a ``Retry-After`` header, 0 where it has another form."""
    return float(header) if header and re.fullmatch(r"[0-9]{1,5}", header, re.ASCII) else 0.0


class Verdict(NamedTuple):
    """What becomes of a batch that gets an answer: whether it is delivered, and the problem, empty if there is none."""

    delivered: bool
    problem: str = ""


class Receipt(NamedTuple):
    """The figures of a function's receipt."""

    events: int
    rejected: int
    already_stored: bool


class Answer(NamedTuple):
    """A status, the redirect's target (empty without one) and whether it is on the same host, and the body's start.

    ``retry_after_s`` is what the header ``Retry-After`` asks for, 0 without it.
    """

    status: int
    location: str
    body: bytes
    same_host: bool = True
    retry_after_s: float = 0.0

    @property
    def cluster(self) -> str | None:
        """The cluster that the events would be stored under. None if the answer is not a receipt of the function."""
        receipt = self._json()
        cluster = receipt.get("cluster")
        return cluster if isinstance(cluster, str) and "batch" in receipt else None

    @property
    def receipt(self) -> Receipt | None:
        """The figures of the function's receipt. None if the answer is not a receipt."""
        found = self._json()
        try:
            rejected = sum(item.get("items", 1) for item in found["rejected"])
            return Receipt(int(found["events"]), int(rejected), bool(found["alreadyStored"]))
        except (AttributeError, KeyError, TypeError, ValueError):
            return None

    @property
    def is_delivered(self) -> bool:
        """Whether kube-apiserver counts the batch as delivered, redirects aside."""
        return self.status in _DELIVERED

    @property
    def code(self) -> str:
        """The ``code`` of the function's problem details, or nothing."""
        code = self._json().get("code")
        return code if isinstance(code, str) else ""

    def refusal(self) -> str:
        """Return the status and what it means, for an answer that does not accept the batch."""
        if self.location and self.status in (*_FOLLOWED_BY_GET, *_FOLLOWED_BY_POST):
            return f"{self.status}, a redirect to {printable(self.location.partition('?')[0])}"
        trouble = "the receiver failed" if self.status >= HTTPStatus.INTERNAL_SERVER_ERROR else ""
        reason = ": ".join(part for part in (_REASONS.get(self.status, trouble), self._detail()) if part)
        return f"{self.status}, {reason}" if reason else f"{self.status}"

    def verdict(self) -> Verdict:
        """Return what becomes of a batch that gets this answer."""
        if self.is_delivered:
            return Verdict(delivered=True, problem="" if self.cluster else _NOT_A_RECEIPT)
        if self.location and self.status in (*_FOLLOWED_BY_GET, *_FOLLOWED_BY_POST):
            return self._redirect()
        return Verdict(delivered=False, problem=f"{self.refusal()}. After 5 tries kube-apiserver drops the batch")

    def _redirect(self) -> Verdict:
        redirect = self.refusal()
        if self.status in _FOLLOWED_BY_GET:
            lost = "kube-apiserver follows it with a GET without a body, and loses every batch silently"
            return Verdict(delivered=False, problem=f"{redirect}: {lost}. Write the final URL as the server")
        if not self.same_host:
            return Verdict(delivered=False, problem=f"{redirect}: kube-apiserver posts there without credentials")
        return Verdict(delivered=True, problem=f"{redirect}: each batch is posted twice. Write that URL as the server")

    def _detail(self) -> str:
        """Return the ``detail`` of the function's problem details, or nothing."""
        detail = self._json().get("detail")
        return printable(detail) if isinstance(detail, str) else ""

    def _json(self) -> dict[str, Any]:
        try:
            document = json.loads(self.body)
        except (ValueError, RecursionError):
            return {}
        return document if isinstance(document, dict) else {}


_NOT_A_RECEIPT = (
    "kube-apiserver would count the batch as delivered, but the answer is not a receipt of auditsplit. "
    "Another server answers here"
)
