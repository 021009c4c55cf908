"""What kube-apiserver's webhook client makes of an answer: measured with v1.37, on every status."""

from __future__ import annotations

import json
import re
from http import HTTPStatus
from typing import Any, NamedTuple

from auditsplit.apiserver.rules.subject import ERROR, WARNING, Finding

_DELIVERED = range(200, 207)
_TO_A_GET = (301, 302, 303)
_AGAIN = (307, 308)
_REASONS = {
    401: "no credentials came, or none that are known there",
    403: "the credentials are good for another cluster, or senders from elsewhere are not taken",
    404: "there is nothing at this path; the function answers / and /clusters/<cluster>",
    405: "this path takes no POST",
    413: "even an empty list is too large there",
    415: "this is no receiver of JSON",
    429: "too many requests",
}
_UNPRINTABLE = re.compile(r"[^ -~]+")


def printable(text: str) -> str:
    """Return what a server said so that it does no harm to a terminal, at most 400 characters."""
    return _UNPRINTABLE.sub("?", text)[:400]


class Answer(NamedTuple):
    """A status, where it redirects to ("" where nowhere; ``same_host`` or not), and the beginning of the body."""

    status: int
    location: str
    body: bytes
    same_host: bool = True

    @property
    def cluster(self) -> str | None:
        """The cluster as which the events would be stored; None where this is no receipt of the function's."""
        receipt = self._json()
        cluster = receipt.get("cluster")
        return cluster if isinstance(cluster, str) and "batch" in receipt else None

    def findings(self) -> list[Finding]:
        """Return what would go wrong with a batch that is answered so; nothing where it is delivered."""
        status = self.status
        if status in _DELIVERED:
            return [] if self.cluster else [_stranger()]
        if self.location and status in (*_TO_A_GET, *_AGAIN):
            return [self._redirect()]
        trouble = "the receiver is in trouble" if status >= HTTPStatus.INTERNAL_SERVER_ERROR else ""
        reason = ": ".join(part for part in (_REASONS.get(status, trouble), self._detail()) if part)
        told = f"{status}, {reason}" if reason else f"{status}"
        return [Finding(ERROR, "answer", f"{told}; after 5 tries kube-apiserver drops the batch")]

    def _redirect(self) -> Finding:
        told = f"{self.status}, a redirect to {self._to()}"
        if self.status in _TO_A_GET:
            lost = "kube-apiserver follows it with a GET without a body, and every batch is lost without a word"
            return Finding(ERROR, "answer", f"{told}: {lost}; name the last URL itself")
        if not self.same_host:
            return Finding(ERROR, "answer", f"{told}: kube-apiserver posts there, but without the credentials")
        return Finding(WARNING, "answer", f"{told}: each batch is posted twice; name that URL itself")

    def _to(self) -> str:
        return printable(self.location.partition("?")[0])

    def _detail(self) -> str:
        """Return what the function itself says, as problem details do."""
        detail = self._json().get("detail")
        return printable(detail) if isinstance(detail, str) else ""

    def _json(self) -> dict[str, Any]:
        try:
            document = json.loads(self.body)
        except (ValueError, RecursionError):
            return {}
        return document if isinstance(document, dict) else {}


def _stranger() -> Finding:
    return Finding(
        WARNING,
        "answer",
        "delivered, as kube-apiserver sees it, but this is no receipt of auditsplit: something else answers here",
    )
