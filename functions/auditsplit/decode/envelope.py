"""The envelope of a body: the kind, the API version and the items that its outermost object names."""

from __future__ import annotations

import re
from typing import Literal, TypeAlias

import msgspec
from msgspec import UNSET, UnsetType

from auditsplit.errors import Undecodable
from auditsplit.event import API_VERSION

_MAX_SHOWN_CHARACTERS = 60
_GROUP = "audit.k8s.io/"

_NEXT_DOCUMENT = re.compile(rb"[ \t\r]*+\n\s*+\{")
_LOGSTASH_START = re.compile(rb'\s*+\{\s*+"event"\s*+:\s*+(?=\{)')

Backend: TypeAlias = Literal["webhook", "log"]
"""Which of kube-apiserver's backends wrote a body. Each has its own flag for the version."""


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
