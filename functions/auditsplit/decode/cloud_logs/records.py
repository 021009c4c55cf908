"""The lines of an audit log that an envelope of a managed cloud holds."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import NamedTuple, TypeVar

import msgspec

T = TypeVar("T")


class Records(NamedTuple):
    """What an envelope holds."""

    lines: list[bytes]
    """The lines of the audit log, without line feeds."""
    skipped: int = 0
    """Records of other logs."""
    cut: int = 0
    """Lines whose end the cloud cut off. They are among ``lines``, and are malformed."""

    @property
    def text(self) -> bytes:
        """The lines as the body of a batch. The same envelope gives the same bytes."""
        return b"".join(line + b"\n" for line in self.lines)


def of_messages(messages: Iterable[str], skipped: int = 0) -> Records:
    """Return the records of ``messages``, each a line of the audit log."""
    lines = list(_lines(messages))
    return Records(lines, skipped, sum(1 for line in lines if not line.endswith(b"}")))


def joined(several: Iterable[Records]) -> Records:
    """Return ``several`` records as a single one."""
    every = list(several)
    lines = [line for each in every for line in each.lines]
    return Records(lines, sum(each.skipped for each in every), sum(each.cut for each in every))


def decode(document: bytes, kind: type[T]) -> T | None:
    """Return ``document`` as ``kind``; None where it is not one.

    A string that the fast parser refuses, such as one with a lone surrogate, must not hide the other records, so the
    standard library's parser then has a try.
    """
    try:
        return msgspec.json.decode(document, type=kind)
    except msgspec.ValidationError:
        return None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    try:
        return msgspec.convert(json.loads(document.decode(errors="surrogateescape")), kind)
    except (ValueError, RecursionError, msgspec.ValidationError):
        return None


def _lines(messages: Iterable[str]) -> Iterator[bytes]:
    """Yield each message as a line. An audit line has no line feed, so one within a message becomes a space."""
    for message in messages:
        yield _encoded(message).strip().replace(b"\n", b" ")


def _encoded(message: str) -> bytes:
    """Return the bytes of ``message``, also those that are not UTF-8 and lone surrogates that were escaped."""
    try:
        return message.encode(errors="surrogateescape")
    except UnicodeEncodeError:
        return message.encode(errors="surrogatepass")
