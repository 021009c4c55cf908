"""Found events as text: rows of a table, and members of a JSON document."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from auditsplit.archive.find.search import Found
from auditsplit.event import NO_TIME, FoundHead, event_time

TABLE = (("TIME", 20), ("USER", 24), ("VERB", 8), ("CODE", 4), ("FROM", 15), ("NAMESPACE", 14), ("OBJECT", 0))
"""The headings and widths of the columns. A longer cell moves the next ones, since no name is cut."""

WIDE = (*TABLE[:-1], ("OBJECT", 36), ("STAGE", 16), ("TO", 48), ("STORED", 40), ("AGENT", 0))
"""The same with the stage, the URL that the request went to, the place of the line, and the program that sent it."""

_ABSENT = "-"
_SAFE = frozenset(map(chr, range(ord("!"), ord("~") + 1))) - {"\\"}


def heading(columns: Sequence[tuple[str, int]]) -> str:
    """Return the line above the rows."""
    return _row([name for name, _ in columns], columns)


def row(found: Found, place: str, columns: Sequence[tuple[str, int]]) -> str:
    """Return a found event as a line of a table. ``place`` is the file or object that has it."""
    head = found.head
    cells = {
        "TIME": _time(head),
        "USER": _who(head),
        "VERB": shown(head.verb),
        "CODE": str(head.responseStatus.code) if head.responseStatus and head.responseStatus.code else _ABSENT,
        "FROM": ",".join(map(shown, head.sourceIPs or ())) or _ABSENT,
        "NAMESPACE": shown(head.objectRef.namespace if head.objectRef else None),
        "OBJECT": _object(head),
        "STAGE": shown(head.stage),
        "TO": shown(head.requestURI),
        "STORED": f"{shown(place)}:{found.line}",
        "AGENT": shown(head.userAgent, last=True),
    }
    return _row([cells[name] for name, _ in columns], columns)


def members(found: Found, place: str) -> dict[str, Any]:
    """Return a found event as a member of a JSON document. Absent values are null."""
    head, reference = found.head, found.head.objectRef
    return {
        "time": _time(head) if event_time(head, NO_TIME) != NO_TIME else None,
        "user": head.user and head.user.username,
        "impersonatedUser": head.impersonatedUser and head.impersonatedUser.username,
        "verb": head.verb,
        "code": head.responseStatus and head.responseStatus.code,
        "sourceIPs": head.sourceIPs,
        "namespace": reference and reference.namespace,
        "resource": reference and reference.resource,
        "apiGroup": reference and reference.apiGroup,
        "subresource": reference and reference.subresource,
        "name": reference and reference.name,
        "stage": head.stage,
        "requestURI": head.requestURI,
        "userAgent": head.userAgent,
        "auditID": head.auditID,
        "place": place,
        "line": found.line,
    }


def shown(text: str | None, *, last: bool = False) -> str:
    r"""Return a text that a user chose so that it cannot move the cursor, change a colour, or look like two columns.

    Any character that is not printable, a space and a backslash become escapes, such as ``\x1b``. In the last column,
    a space stays.
    """
    if not text:
        return _ABSENT
    return "".join(each if each in _SAFE or (last and each == " ") else _escaped(each) for each in text)


def _escaped(character: str) -> str:
    if character == "\\":
        return r"\\"
    if character.isprintable() and character != " ":
        return character
    code = ord(character)
    if code <= 0xFF:  # noqa: PLR2004 - the last code of two digits
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"  # noqa: PLR2004 - the last code of four digits


def _time(head: FoundHead) -> str:
    time = event_time(head, NO_TIME)
    return f"{time:%FT%TZ}" if time != NO_TIME else _ABSENT


def _who(head: FoundHead) -> str:
    user = shown(head.user.username if head.user else None)
    other = head.impersonatedUser.username if head.impersonatedUser else None
    return f"{user} as {shown(other)}" if other else user


def _object(head: FoundHead) -> str:
    """Return the object as ``resource.group/name/subresource``, or the URL where the request has no object."""
    reference = head.objectRef
    if not reference or not reference.resource:
        return shown(head.requestURI)
    resource = ".".join(shown(part) for part in (reference.resource, reference.apiGroup) if part)
    name = f"/{shown(reference.name)}" if reference.name else ""
    return f"{resource}{name}" + (f"/{shown(reference.subresource)}" if reference.subresource else "")


def _row(cells: Sequence[str], columns: Sequence[tuple[str, int]]) -> str:
    return " ".join(cell.ljust(width) for cell, (_, width) in zip(cells, columns, strict=True)).rstrip()
