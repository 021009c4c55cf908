"""The outer document of a body: an ``EventList``, or a single ``Event``, of the API version that is accepted."""

from __future__ import annotations

import msgspec
from msgspec import UNSET, UnsetType

from auditsplit.errors import Undecodable
from auditsplit.event import API_VERSION

_MAX_SHOWN_CHARACTERS = 60


class Document(msgspec.Struct):
    """The fields of a document that decide whether its items are audit events."""

    kind: str | None = None
    apiVersion: str | None = None  # noqa: N815 - the API's own name
    items: list[msgspec.Raw] | UnsetType | None = UNSET


def check_version(document: Document) -> None:
    """Raise `Undecodable` unless ``document`` is a list or an event of `API_VERSION`."""
    kind, version = document.kind, document.apiVersion
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
