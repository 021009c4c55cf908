"""A document of JSON or YAML with the line and column of each value."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import msgspec


class Position(NamedTuple):
    """Where something is in a file, in lines and columns from 1. ``0:0`` is the whole file."""

    line: int = 0
    column: int = 0


class Refusal(Exception):
    """The document cannot be read. Its parts are the reason and the position."""

    def __init__(self, reason: str, position: Position) -> None:
        super().__init__(reason)
        self.reason, self.position = reason, position


class Member(NamedTuple):
    """A member of a mapping. A name can be there twice."""

    name: str
    position: Position
    value: Node


Value: TypeAlias = "bool | int | float | str | list[Node] | tuple[Member, ...] | None"


class Node(msgspec.Struct, frozen=True):
    """A value: a scalar, a list of nodes for a sequence, a tuple of members for a mapping."""

    value: Value
    position: Position


MAX_DEPTH = 200
"""The deepest nesting that is read. Go's limit is 10,000, and a policy has 6 levels."""
