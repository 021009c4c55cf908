"""The fields of a policy's file, and decoding by them as kube-apiserver does.

kube-apiserver accepts fields that it does not know, and fields that are there twice, with a warning in its log. A value
of the wrong type keeps it from starting. Names count in their exact case.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple, TypeAlias

import msgspec

from auditsplit.policy.problems import Problem
from auditsplit.policy.reader.nodes import Member, Node, Position

_MAX_SHOWN_CHARACTERS = 60
_RFC3339 = re.compile(
    r"\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:[.,]\d+)?(?:Z|[-+]\d\d:\d\d)",
    re.ASCII,
)
_INT64 = range(-(2**63), 2**63)


class Scalar(NamedTuple):
    """A field with one value."""

    type: type
    words: str
    default: Any
    optional: bool = False
    """Whether null is a value of its own, instead of none."""


class Listed(NamedTuple):
    """A list."""

    of: Any


class Keyed(NamedTuple):
    """A mapping with any keys."""

    of: Any


Fields: TypeAlias = Mapping[str, Any]

TEXT = Scalar(str, "text", "")
FLAG = Scalar(bool, "true or false", default=False)
OPTIONAL_FLAG = Scalar(bool, "true or false", default=None, optional=True)
INTEGER = Scalar(int, "an integer", 0)
TIME = Scalar(msgspec.UnsetType, "a time such as 2026-11-23T10:00:00Z", default=None, optional=True)
ANYTHING = Scalar(object, "anything", default=None, optional=True)
TEXTS = Listed(TEXT)

METADATA: Fields = {
    **dict.fromkeys(("name", "generateName", "namespace", "selfLink", "uid", "resourceVersion"), TEXT),
    **dict.fromkeys(("generation", "deletionGracePeriodSeconds"), INTEGER),
    **dict.fromkeys(("creationTimestamp", "deletionTimestamp"), TIME),
    **dict.fromkeys(("labels", "annotations"), Keyed(TEXT)),
    "finalizers": TEXTS,
    "ownerReferences": Listed(
        {
            **dict.fromkeys(("apiVersion", "kind", "name", "uid"), TEXT),
            **dict.fromkeys(("controller", "blockOwnerDeletion"), OPTIONAL_FLAG),
        }
    ),
    "managedFields": Listed(
        {
            **dict.fromkeys(("manager", "operation", "apiVersion", "fieldsType", "subresource"), TEXT),
            "time": TIME,
            "fieldsV1": ANYTHING,
        }
    ),
}

_RULE: Fields = {
    "level": TEXT,
    **dict.fromkeys(("users", "userGroups", "verbs", "namespaces", "nonResourceURLs", "omitStages"), TEXTS),
    "resources": Listed({"group": TEXT, "resources": TEXTS, "resourceNames": TEXTS}),
    "omitManagedFields": OPTIONAL_FLAG,
}

POLICY: Fields = {
    "kind": TEXT,
    "apiVersion": TEXT,
    "metadata": METADATA,
    "rules": Listed(_RULE),
    "omitStages": TEXTS,
    "omitManagedFields": FLAG,
}
"""The fields of ``audit.k8s.io/v1``'s Policy."""


class Decoder:
    """Decodes nodes by a schema, and collects problems and positions."""

    def __init__(self, *, merges: bool) -> None:
        """Decode JSON, of which Go merges the values of a field that is there twice, if ``merges``. Else YAML."""
        self.problems: list[Problem] = []
        self.positions: dict[str, Position] = {}
        """Where each field and list element is, by its path such as ``rules[0].level``."""
        self._merges = merges

    def decode(self, schema: Any, node: Node, path: str = "", old: Any = None) -> Any:
        """Return the value of ``node``: text, a number, a list, or a dict of all fields of the schema.

        Args:
            schema: What is expected.
            node: What the file has.
            path: The field's path.
            old: The value of an earlier field of this name, which JSON's decoder merges with this value.
        """
        self.positions[path] = node.position
        if isinstance(schema, Scalar):
            return self._scalar(schema, node, path, old)
        if isinstance(schema, Listed):
            return self._list(schema, node, path, old)
        if isinstance(schema, Keyed):
            return self._keyed(schema, node, path)
        return self._object(schema, node, path, old)

    def problem(self, path: str, node: Node | Member, message: str, *, refused: bool = True) -> None:
        """Note a problem at ``node``."""
        self.problems.append(Problem.at(node.position, path, message, "refused" if refused else "warned"))

    def _mistyped(self, path: str, node: Node, expected: str) -> None:
        self.problem(path, node, f"must be {expected}, not {_shown(node)}")

    def _scalar(self, schema: Scalar, node: Node, path: str, old: Any) -> Any:
        value = node.value
        default = schema.default if old is None else old
        if value is None:
            return None if schema.optional else default
        if schema is ANYTHING or _is_of(schema, value):
            return value
        self._mistyped(path, node, schema.words)
        return default

    def _list(self, schema: Listed, node: Node, path: str, old: Any) -> list[Any]:
        if node.value is None:
            return []
        if not isinstance(node.value, list):
            self._mistyped(path, node, "a list")
            return []
        earlier: list[Any] = old or []
        return [
            self.decode(schema.of, item, f"{path}[{index}]", earlier[index] if index < len(earlier) else None)
            for index, item in enumerate(node.value)
        ]

    def _keyed(self, schema: Keyed, node: Node, path: str) -> dict[str, Any]:
        members = self._members(node, path)
        return {member.name: self.decode(schema.of, member.value, f"{path}[{member.name}]") for member in members}

    def _object(self, fields: Fields, node: Node, path: str, old: Any) -> dict[str, Any]:
        values: dict[str, Any] = dict(old or {})
        for member in self._members(node, path):
            at = f"{path}.{member.name}" if path else member.name
            if member.name in fields:
                earlier = values.get(member.name) if self._merges else None
                values[member.name] = self.decode(fields[member.name], member.value, at, earlier)
            else:
                self.problem(at, member, "there is no such field, so it has no effect. Remove it", refused=False)
        absent = {name: self._absent(schema) for name, schema in fields.items() if name not in values}
        return {**values, **absent}

    def _absent(self, schema: Any) -> Any:
        if isinstance(schema, Scalar):
            return schema.default
        return [] if isinstance(schema, Listed) else {}

    def _members(self, node: Node, path: str) -> list[Member]:
        """Return the members of a mapping. Of YAML, the last member of a name. None if it is not a mapping."""
        if node.value is None:
            return []
        if not isinstance(node.value, tuple):
            self._mistyped(path, node, "a mapping")
            return []
        members: dict[str, Member] = {}
        for member in node.value:
            if member.name in members:
                at = f"{path}.{member.name}" if path else member.name
                self.problem(at, member, "the field is there twice. Remove one of them", refused=False)
            members[member.name] = member
        return list(node.value if self._merges else members.values())


def _is_of(schema: Scalar, value: Any) -> bool:
    if schema is TIME:
        return isinstance(value, str) and _RFC3339.fullmatch(value) is not None
    if schema is INTEGER:
        return isinstance(value, int) and not isinstance(value, bool) and value in _INT64
    return isinstance(value, schema.type)


def _shown(node: Node) -> str:
    match node.value:
        case list():
            return "a list"
        case tuple():
            return "a mapping"
        case bool():
            return f"{str(node.value).lower()}, which is a boolean. Write it in quotes if text is meant"
        case int() | float():
            return f"the number {node.value}"
        case _:
            return repr(str(node.value)[:_MAX_SHOWN_CHARACTERS])
