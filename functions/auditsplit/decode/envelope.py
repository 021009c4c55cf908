"""The envelope of a body: the kind, the API version and the items that its outermost object names."""

from __future__ import annotations

import msgspec
from msgspec import UNSET, UnsetType

from auditsplit.errors import Undecodable
from auditsplit.event import API_VERSION

_MAX_SHOWN_CHARACTERS = 60


class Envelope(msgspec.Struct):
    """The fields of a body's outermost object. They decide whether the body holds audit events."""

    kind: str | None = None
    apiVersion: str | None = None  # noqa: N815 - the API's own name
    items: list[msgspec.Raw] | UnsetType | None = UNSET


def check_version(envelope: Envelope) -> None:
    """Raise `Undecodable` unless ``envelope`` is that of a list or an event of `API_VERSION`."""
    kind, version = envelope.kind, envelope.apiVersion
    if kind in ("EventList", "Event") and version == API_VERSION:
        return
    if kind in ("EventList", "Event") and (version or "").startswith("audit.k8s.io/"):
        raise Undecodable(
            f"expected apiVersion {API_VERSION}, got {shown(version)}. Start kube-apiserver with "
            f"--audit-webhook-version={API_VERSION} (its default)"
        )
    raise Undecodable(
        f"expected kind EventList and apiVersion {API_VERSION}, got kind {shown(kind)} and apiVersion {shown(version)}"
    )


def shown(value: str | None) -> str:
    """Return a value that a sender chose, quoted, in printable ASCII and shortened, as error messages show it."""
    return "none" if value is None else ascii(value[:_MAX_SHOWN_CHARACTERS])
