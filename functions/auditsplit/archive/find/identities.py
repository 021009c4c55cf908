"""Identities: tell an event that was seen before, in another file, in another object, or twice in the same one.

``auditID`` and ``stage`` alone do not identify an event, since a client chooses its ``auditID`` by a header. So a
client that sends one ``Audit-ID`` twice cannot hide the second request behind the first.
"""

from __future__ import annotations

import hashlib

import msgspec

from auditsplit.event import Event, FoundHead

_DIGEST_BYTES = 16
_encode = msgspec.json.Encoder().encode


class Identities:
    """The events that were seen. Each takes some 100 bytes of memory."""

    def __init__(self) -> None:
        """Begin without any."""
        self._seen: set[bytes] = set()

    def is_new(self, event: Event, head: FoundHead) -> bool:
        """Return whether the event was not seen before, and remember it."""
        digest = hashlib.blake2b(_identity(event, head), digest_size=_DIGEST_BYTES).digest()
        if digest in self._seen:
            return False
        self._seen.add(digest)
        return True


def _identity(event: Event, head: FoundHead) -> bytes:
    """Return what identifies an event: all fields that a policy does not change. Without an id or a time, its bytes."""
    if not (head.auditID and head.stageTimestamp):
        return bytes(event.raw)
    user = head.user.username if head.user else None
    other = head.impersonatedUser.username if head.impersonatedUser else None
    code = head.responseStatus.code if head.responseStatus else None
    fields = (head.auditID, head.stage, head.stageTimestamp, head.requestReceivedTimestamp, head.verb, head.requestURI)
    values = (*fields, user, other, code, head.sourceIPs, head.userAgent)
    return _encode([text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text for text in values])
