"""The parts that can be cut from an event, and the annotation that names them."""

from __future__ import annotations

from collections.abc import Collection

MARK = "auditsplit/dropped"
"""The annotation of an event that a part was cut from. Its value is the names of the `PARTS`, with commas between."""

BODIES = ("requestObject", "responseObject")
PARTS = (*BODIES, "managedFields")
"""The parts that can be cut: a body, or ``metadata.managedFields`` of both bodies."""


def mark(dropped: Collection[str]) -> bytes:
    """Return the annotation, with its name, for the parts ``dropped``."""
    return f'"{MARK}":"{",".join(dropped)}"'.encode()
