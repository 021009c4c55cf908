"""Streams: which data stream an event goes to, by a template and names that Elasticsearch takes.

Every user has a data stream of their own by default: Elasticsearch rolls it over, deletes what is older than the
retention, and it may be made at the first event by a key that can do nothing else. A name is that of `names.encode` in
lower case, with ``:`` as ``%3a``: still one-to-one, since upper case is only ever in the digits of ``%XX``.

What is refused goes to ``<prefix>_rejected``; no encoded value begins with ``_``, so that is no user's.
"""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime
from functools import lru_cache

from auditsplit.event import Batch, Event, event_time
from auditsplit.routing.fields import WhichUser
from auditsplit.routing.template import KeyTemplate

DEFAULT_TARGET = "kube-audit-{user}"

MAX_BYTES = 255 - len(".ds-" + "-2026.11.23-000001")
"""The longest name: 255 bytes are the bound of the indices behind a data stream, which add to its name."""

_LITERAL = re.compile(r"[a-z0-9._@=+/-]*", re.ASCII)
_START = re.compile(r"[a-z0-9]", re.ASCII)
_PREFIX_BYTES = 3
_HASH_MARK = "~"  # `names.encode` leaves none in a value but before its own hash, which has another domain
_NO_TIME = datetime(1970, 1, 1, tzinfo=UTC)


class Streams:
    """The data streams of a template; ``ValueError`` names every mistake in it, a line each."""

    def __init__(self, text: str = DEFAULT_TARGET, user: WhichUser = "authenticated") -> None:
        """Check ``text``, in which a ``/`` becomes ``=``, since no name may have one; ``user`` is `KeyTemplate`'s."""
        mistakes = _mistakes(text)
        if mistakes:
            raise ValueError("\n".join(mistakes))
        literal, brace, rest = text.partition("{")
        self.text = text
        self.prefix = legal(literal)
        self._before = literal if brace else ""  # apart, since `KeyTemplate` bounds lengths as file systems do
        self._template = KeyTemplate(brace + rest or literal, user=user)

    @property
    def patterns(self) -> list[str]:
        """What matches all the data streams that can come of it, and no more than it must."""
        return [f"{self.prefix}*"] if "{" in self.text else [self.prefix, self.rejected]

    @property
    def rejected(self) -> str:
        """The data stream for what is no event."""
        return f"{self.prefix}{'' if '{' in self.text else '-'}_rejected"

    def group(self, batch: Batch) -> dict[str, list[Event]]:
        """Return the batch's events by data stream, in their order.

        The date of an event without a time is that of the batch's first event with one, else 1970: a retry must go to
        the same place.
        """
        origin = batch.origin
        if any(field in self.text for field in ("{date}", "{year}", "{month}", "{day}", "{hour}")):
            times = (event_time(event.head, _NO_TIME) for event in batch.events)
            origin = origin._replace(arrived=next((time for time in times if time != _NO_TIME), _NO_TIME))
        groups = self._template.group(batch.events, origin)
        return {legal(self._before + name): events for name, events in groups.items()}


@lru_cache(maxsize=4096)
def legal(name: str) -> str:
    """Return the rendered ``name`` as Elasticsearch takes it, of `MAX_BYTES` or less; two never become one."""
    lowered = name.replace("/", "=").replace(":", "%3a").lower()
    if len(lowered) <= MAX_BYTES:
        return lowered
    digest = hashlib.sha256(b"data stream\0" + name.encode()).hexdigest()
    kept = lowered[: MAX_BYTES - len(_HASH_MARK) - len(digest)]
    return re.sub(r"%[0-9a-f]?\Z", "", kept) + _HASH_MARK + digest


def _mistakes(text: str) -> list[str]:
    """Return what is wrong with a template for data streams beyond what `KeyTemplate` refuses."""
    found = []
    prefix = text.partition("{")[0]
    if not _START.match(text) or len(prefix) < _PREFIX_BYTES:
        found.append(f"{text!r} must begin with {_PREFIX_BYTES} or more of a-z 0-9 before its first field")
    found += [
        f"{literal!r} has a character other than a-z 0-9 . _ @ = + - /; data streams have no others"
        for literal in re.split(r"\{[^{}]*\}", text)
        if not _LITERAL.fullmatch(literal)
    ]
    if len(text) > MAX_BYTES:
        found.append(f"it has over {MAX_BYTES} bytes")
    return found
