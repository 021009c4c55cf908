r"""Wrappers: take the lines of an audit log out of the lines of a container's log.

With ``--audit-log-path=-`` the audit log goes to the container's log. There a container runtime puts each line into its
own: CRI (containerd, CRI-O) as ``<time> stdout F <text>``, Docker as ``{"log":"<text>\n","stream":"stdout",…}``. Both
divide a long line into parts. CRI marks all parts but the last with ``P``, and Docker ends only the last with a line
feed.

The text is taken out if it is of standard output and begins like a JSON object. Any other line stays as it is, so that
it is rejected whole. kube-apiserver's messages go to standard error. They can have text that a user chose, perhaps
after a line feed, so a line of them is never an event.

Records of managed clouds are wrappers too: see `auditsplit.decode.cloud_logs`.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import msgspec

from auditsplit.decode import cloud_logs

_CRI = re.compile(rb"\d{4}-\d\d-\d\dT[0-9:.]++(?:Z|[+-]\d\d:\d\d) (stdout|stderr) ([FP])(?::[^ ]*+)? (.*)\Z", re.DOTALL)
_CRI_START = re.compile(rb"\d{4}-\d\d-\d\dT")
_STDOUT = "stdout"
_DOCKER_START = b'{"log":"'


class Line(NamedTuple):
    """A line of a file: its ``number``, which counts from 1, and its text."""

    number: int
    text: bytes


class _Part(NamedTuple):
    line: Line
    stream: str
    text: bytes
    last: bool


class _Docker(msgspec.Struct, gc=False):
    log: str
    stream: str
    time: str


_decode_docker = msgspec.json.Decoder(_Docker).decode
_skip = msgspec.json.Decoder(msgspec.Raw).decode


def unwrap(lines: Iterable[Line], skipped: Callable[[int], None] = lambda _: None) -> Iterator[Line]:
    """Yield the lines without the wrappers of container runtimes and managed clouds.

    A line in parts has the number of its first part. Parts before the beginning of a line are yielded as they are.

    Args:
        lines: The lines of a file.
        skipped: Told how many records of other logs a managed cloud's line has.
    """
    for line in _unwrapped(lines):
        records = cloud_logs.unwrapped(line.text)
        if records is None:
            yield line
            continue
        skipped(records.skipped)
        yield from (Line(line.number, text + b"\n") for text in records.lines)


def end_of_whole_lines(text: bytes) -> int:
    """Return the last offset in ``text`` at which no line in parts is open. 0 if there is none.

    Args:
        text: Whole lines of a container's log, or of any other log.
    """
    return max(ends_of_whole_lines(text), default=0) if is_wrapped(text) else len(text)


def ends_of_whole_lines(text: bytes) -> Iterator[int]:
    """Yield the offsets in ``text`` after a line, at which no line in parts is open."""
    open_parts: set[str] = set()
    at = 0
    for line in io.BytesIO(text):
        at += len(line)
        if part := _part(Line(0, line)):
            (open_parts.discard if part.last else open_parts.add)(part.stream)
        if not open_parts:
            yield at


def is_wrapped(text: bytes) -> bool:
    """Return whether ``text`` begins with a line of a container's log."""
    return text.startswith(_DOCKER_START) or _CRI_START.match(text) is not None


def _unwrapped(lines: Iterable[Line]) -> Iterator[Line]:
    open_parts: dict[str, list[_Part]] = {}
    for line in lines:
        part = _part(line)
        if part is None:
            yield line
            continue
        parts = open_parts.setdefault(part.stream, [])
        parts.append(part)
        if part.last:
            yield from _joined(open_parts.pop(part.stream))
    for parts in open_parts.values():
        yield from _joined(parts)


def is_json(text: bytes) -> bool:
    """Return whether ``text`` is a whole JSON value for a fast parser, which refuses some that have events too."""
    try:
        _skip(text)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True


def _part(line: Line) -> _Part | None:
    """Return the part of a line of a container's log; None for any other line."""
    if line.text.startswith(_DOCKER_START):
        return _docker_part(line)
    if not _CRI_START.match(line.text):
        return None
    match = _CRI.match(line.text.rstrip(b"\r\n"))
    return match and _Part(line, match[1].decode(), match[3], match[2] == b"F")


def _docker_part(line: Line) -> _Part | None:
    try:
        wrapper = _decode_docker(line.text)
        text = wrapper.log.encode()
    except (msgspec.DecodeError, UnicodeError):
        return None
    return _Part(line, wrapper.stream, text.removesuffix(b"\n"), text.endswith(b"\n"))


def _joined(parts: list[_Part]) -> Iterator[Line]:
    """Yield the line that the parts are.

    Where the end of an earlier line is missing, its parts stand before those of a whole line. They hide no event: the
    line begins at the first part from which on the text is a JSON value.
    """
    is_log = parts[0].stream == _STDOUT
    starts = [index for index, part in enumerate(parts) if is_log and part.text.lstrip().startswith(b"{")]
    if not starts:
        yield from (part.line for part in parts)
        return
    begin = starts[0]
    if len(starts) > 1 and not is_json(_text(parts, begin)):
        begin = next((start for start in reversed(starts) if is_json(_text(parts, start))), begin)
    yield from (part.line for part in parts[:begin])
    yield Line(parts[begin].line.number, _text(parts, begin) + b"\n")


def _text(parts: list[_Part], begin: int) -> bytes:
    return b"".join(part.text for part in parts[begin:])
