"""The envelope of a body: the kind, the API version and the items that its outermost object names."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec
from msgspec import UNSET, UnsetType

from auditsplit.errors import Undecodable
from auditsplit.event import API_VERSION

_MAX_SHOWN_CHARACTERS = 60

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
    known = kind == "EventList" or envelope.is_event
    if known and (version == API_VERSION or (version is None and envelope.is_event)):
        return
    if (known or kind is None) and (version or "").startswith("audit.k8s.io/") and version != API_VERSION:
        wrote = "webhook" if kind == "EventList" else backend
        raise Undecodable(
            f"expected apiVersion {API_VERSION}, got {shown(version)}. Start kube-apiserver with "
            f"--audit-{wrote}-version={API_VERSION} (its default)"
        )
    raise Undecodable(
        f"expected kind EventList and apiVersion {API_VERSION}, got kind {shown(kind)} and apiVersion {shown(version)}"
    )


def shown(value: str | None) -> str:
    """Return a value that a sender chose, quoted, in printable ASCII and shortened, as error messages show it."""
    return "none" if value is None else ascii(value[:_MAX_SHOWN_CHARACTERS])
