"""The envelope of a body: the kind, the API version and the items that its outermost object names."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, Literal, NamedTuple, TypeAlias

import msgspec
from msgspec import UNSET, UnsetType

from auditsplit.decode.jsonscan import Span
from auditsplit.decode.outline import REFUSALS, adds_up, decode_array, decode_object, element_spans, harmless, spans_of
from auditsplit.errors import Undecodable
from auditsplit.event import API_VERSION

ONCE = ("kind", "apiVersion", "items")
"""The names that a body may have only once. JSON's readers differ on which of two equal names counts."""

_MAX_SHOWN_CHARACTERS = 60
_GROUP = "audit.k8s.io/"

_NEXT_DOCUMENT = re.compile(rb"[ \t\r]*+\n\s*+\{")
_LOGSTASH_START = re.compile(rb'\s*+\{\s*+"event"\s*+:\s*+(?=\{)')

Backend: TypeAlias = Literal["webhook", "log"]
"""Which of kube-apiserver's backends wrote a body. Each has its own flag for the version."""
_MAX_REST_BYTES = 4096
"""The most bytes of a list beside its items. kube-apiserver's have some 80."""


class Envelope(msgspec.Struct):
    """The fields of a body's outermost object. They decide whether the body holds audit events."""

    kind: str | None = None
    apiVersion: str | None = None  # noqa: N815 - the API's own name
    items: list[msgspec.Raw] | UnsetType | None = UNSET
    auditID: msgspec.Raw | UnsetType = UNSET  # noqa: N815
    stage: msgspec.Raw | UnsetType = UNSET
    user: msgspec.Raw | UnsetType = UNSET

    @property
    def is_event(self) -> bool:
        """Whether it is that of an ``Event``. Like an item of a list, an event may lack its kind and its version.

        An object without both is an event if it has an ``auditID``, a ``stage`` or a ``user``, because other programs
        write JSON to the same logs.
        """
        if self.kind is not None or self.items is not UNSET:
            return self.kind == "Event"
        return self.apiVersion == API_VERSION or any(
            field is not UNSET for field in (self.auditID, self.stage, self.user)
        )


class Items(NamedTuple):
    """The items of a body, in their order: their bytes, or where they are in the body."""

    raws: list[memoryview] | None = None
    spans: Iterable[Span] = ()
    """Where the items are, if ``raws`` is None."""
    safe: bytes | None = None
    """The body as a parser accepts it, if that was needed: see `auditsplit.decode.outline.harmless`."""
    marks: bytes | bytearray | None = None
    """The body without its strings, if that was needed: see `auditsplit.decode.jsonscan.Scan.marks`."""

    def parts(
        self, body: bytes, spans: Iterable[Span]
    ) -> Iterator[tuple[memoryview, memoryview | None, memoryview | None]]:
        """Yield each item's bytes, with its parts of ``safe`` and of ``marks`` where there are any.

        ``spans`` are where the items are in ``body``, if ``raws`` is None.
        """
        if self.raws is not None:
            yield from ((raw, None, None) for raw in self.raws)
            return
        view = memoryview(body)
        safe = memoryview(self.safe) if self.safe else None
        marks = memoryview(self.marks) if self.marks else None
        for start, end in spans:
            yield view[start:end], safe[start:end] if safe else None, marks[start:end] if marks else None


_decode_envelope = msgspec.json.Decoder(Envelope).decode


def parse_envelope(body: bytes) -> tuple[Envelope, Items] | None:
    """Return the envelope of ``body``, and its items in order. None if a parser refuses the body, or may be mistaken.

    Where ``items`` is an array, the envelope has an empty list.
    """
    for text in (body, harmless(body)):
        try:
            return _parse(body, text)
        except REFUSALS:
            if text is not body:
                break
    return None


def _parse(body: bytes, text: bytes) -> tuple[Envelope, Items] | None:
    """Return the same as `parse_envelope`. A parser reads ``text``, which has its values where ``body`` has them."""
    members = decode_object(text)
    exact = adds_up(members, len(text.rstrip(b"\n")))
    value = members.get("items")
    if value is None:
        return (_decode_envelope(text), Items()) if exact else None
    return _with_items(body, text, members, value, exact=exact)


def _with_items(
    body: bytes, text: bytes, members: dict[str, msgspec.Raw], value: msgspec.Raw, *, exact: bool
) -> tuple[Envelope, Items] | None:
    """Return the envelope and the items in ``value``. With ``exact``, the members are known to fill ``text``."""
    raw = bytes(value)
    start = dict(spans_of(members, 0))["items"].start if exact else text.find(raw)
    end = start + len(raw)
    is_null = raw == b"null"
    rest = text[:start] + (raw if is_null else b"[]") + text[end:]
    if not _is_small(rest, exact=exact):
        return None
    elements = [] if is_null else decode_array(value)
    if text is body:
        return _decode_envelope(rest), Items([memoryview(element) for element in elements])
    if not exact or (spans := element_spans(elements, Span(start, end))) is None:
        return None
    return _decode_envelope(rest), Items(spans=spans, safe=text)


def _is_small(rest: bytes, *, exact: bool) -> bool:
    """Return whether a list without its items is as small as kube-apiserver's, and has no name twice."""
    return len(rest) <= _MAX_REST_BYTES and (exact or _names_are_unique(rest))


def _names_are_unique(text: bytes) -> bool:
    try:
        pairs: list[tuple[str, Any]] = json.loads(text, object_pairs_hook=list)
    except (ValueError, RecursionError):
        return False
    names = [name for name, _ in pairs]
    return all(names.count(name) <= 1 for name in ONCE)


def check_version(envelope: Envelope, backend: Backend) -> None:
    """Raise `Undecodable` unless ``envelope`` is that of a list or an event of `API_VERSION`.

    ``backend`` wrote the events that stand alone. Lists are always the webhook's.
    """
    kind, version = envelope.kind, envelope.apiVersion
    accepted = (API_VERSION, None) if envelope.is_event else (API_VERSION,)
    if (kind == "EventList" or envelope.is_event) and version in accepted:
        return
    if kind in ("EventList", "Event", None) and _is_other_version(version):
        wrote = "webhook" if kind == "EventList" else backend
        raise Undecodable(
            f"expected apiVersion {API_VERSION}, got {shown(version)}. Start kube-apiserver with "
            f"--audit-{wrote}-version={API_VERSION} (its default)"
        )
    raise Undecodable(
        f"expected kind EventList and apiVersion {API_VERSION}, got kind {shown(kind)} and apiVersion {shown(version)}"
    )


def _is_other_version(version: str | None) -> bool:
    return version is not None and version.startswith(_GROUP) and version != API_VERSION


def logstash_event(body: bytes) -> memoryview | None:
    """Return the event of ``{"event":…}``, as the format ``logstash`` has it. None for any other body.

    The event is all text up to the last bracket. So a second member makes it malformed, and is not silently lost.
    """
    start = _LOGSTASH_START.match(body)
    if not start:
        return None
    end = len(body.rstrip()) - 1
    if not body.startswith(b"}", end):
        raise Undecodable("the object is not closed", end + 1)
    return memoryview(body[start.end() : end].rstrip())


def for_several_documents(body: bytes, error: Undecodable) -> Undecodable:
    """Return the error that tells how to send several documents, if that is what the body has, else ``error``."""
    if error.position and _NEXT_DOCUMENT.match(body, error.position):
        return Undecodable(
            "the body has several documents, each on its own line. Send it with Content-Type application/x-ndjson",
            error.position,
        )
    return error


def shown(value: str | None) -> str:
    """Return a value that a sender chose, quoted, in printable ASCII and shortened, as error messages show it."""
    return "none" if value is None else ascii(value[:_MAX_SHOWN_CHARACTERS])
