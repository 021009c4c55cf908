"""A YAML file that is edited in place, so that every value that is not edited stays as it was written.

Parsing to Python values and back would turn ``kubernetesVersion: 1.30`` into 1.3. So the edits are made to the parsed
nodes, which keep each value's own text. Comments are not kept.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from auditsplit.errors import SettingsError

_NO_FOLDING = 1_000_000
"""A line may have so many characters."""


class Change(NamedTuple):
    """A thing that an edit changed. ``before`` is None if it is new."""

    what: str
    before: str | None
    after: str

    def __str__(self) -> str:
        """Return a line for a person."""
        return f"{self.what}: {self.after}" + (f" instead of {self.before}" if self.before is not None else "")


class Mapped:
    """A mapping of the file."""

    def __init__(self, node: MappingNode) -> None:
        """Keep the node, which edits change."""
        self._node = node

    def node(self, key: str) -> Node | None:
        """Return the value's node. None without the key."""
        return next((value for name, value in self._node.value if name.value == key), None)

    def get(self, key: str) -> str | None:
        """Return the value as it is written. None without the key, or if the value is not a scalar."""
        node = self.node(key)
        return str(node.value) if isinstance(node, ScalarNode) else None

    def put(self, key: str, value: Any) -> None:
        """Set the value of ``key``. A new key comes last."""
        for position, (name, _) in enumerate(self._node.value):
            if name.value == key:
                self._node.value[position] = (name, nodes(value))
                return
        self._node.value.append((nodes(key), nodes(value)))

    def child(self, key: str) -> Mapped:
        """Return the mapping at ``key``. It is made if it is missing or null."""
        return Mapped(self._collection(key, MappingNode, {}))  # type: ignore[arg-type]

    def items(self, key: str) -> Listed:
        """Return the list at ``key``. It is made if it is missing or null."""
        return Listed(self._collection(key, SequenceNode, []))  # type: ignore[arg-type]

    def _collection(self, key: str, kind: type[Node], empty: Any) -> Node:
        node = self.node(key)
        if node is None or _is_null(node):
            self.put(key, empty)
            node = self.node(key)
        if not isinstance(node, kind):
            expected = "a mapping" if kind is MappingNode else "a list"
            raise SettingsError(f"--merge: {key} must be {expected}")
        if isinstance(node, MappingNode | SequenceNode) and not node.value:
            node.flow_style = False
        return node

    def set_all(self, values: Mapping[str, str]) -> list[Change]:
        """Set all values, and return what changed."""
        changes = [Change(name, self.get(name), value) for name, value in values.items() if self.get(name) != value]
        for change in changes:
            self.put(change.what, change.after)
        return changes


class Listed:
    """A list of the file."""

    def __init__(self, node: SequenceNode) -> None:
        """Keep the node, which edits change."""
        self.node = node

    def mappings(self) -> Iterator[Mapped]:
        """Yield the members that are mappings."""
        return (Mapped(member) for member in self.node.value if isinstance(member, MappingNode))

    def values(self, key: str) -> list[str]:
        """Return the values of ``key`` in the members that have it."""
        return [value for member in self.mappings() if (value := member.get(key)) is not None]

    def texts(self) -> list[str]:
        """Return the members as they are written. Members that are not scalars are left out."""
        return [str(member.value) for member in self.node.value if isinstance(member, ScalarNode)]

    def append(self, value: Any) -> None:
        """Add a member at the end."""
        self.node.value.append(nodes(value))

    def set_named(self, values: Mapping[str, str]) -> list[Change]:
        """Set ``value`` of the members with these names, and return what changed. A repeated name stays once."""
        changes = []
        for name, value in values.items():
            before = [member for member in self.mappings() if member.get("name") == name]
            old = before[-1].get("value") if before else None
            if before and old == value and len(before) == 1:
                continue
            doubled = [id(member._node) for member in before[1:]]  # noqa: SLF001 - the class of one file
            self.node.value = [member for member in self.node.value if id(member) not in doubled]
            if before:
                before[0].put("value", value)
            else:
                self.append({"name": name, "value": value})
            changes.append(Change(name, old, value))
        return changes

    def free_name(self, name: str) -> str:
        """Return ``name``, or the first of ``name-1``, ``name-2`` and so on that no member has."""
        taken = self.values("name")
        return next(
            candidate
            for candidate in itertools.chain([name], (f"{name}-{number}" for number in itertools.count(1)))
            if candidate not in taken
        )


class Tree:
    """The documents of a YAML file."""

    def __init__(self, text: str) -> None:
        """Parse the file.

        Raises:
            SettingsError: It is not valid YAML.
        """
        self._readable = not re.search("[\x85\u2028\u2029]", text)  # PyYAML reads these as line breaks, and folds them
        try:
            self._documents = list(yaml.compose_all(text, Loader=yaml.SafeLoader))
        except (yaml.YAMLError, RecursionError) as error:
            where = getattr(error, "problem_mark", None)
            line = f", line {where.line + 1}" if where else ""
            raise SettingsError(f"--merge: the file is not valid YAML{line}") from None

    def document(self, kind: str) -> Mapped:
        """Return the document of this ``kind``.

        Raises:
            SettingsError: There is none.
        """
        kinds = []
        for node in self._documents:
            if isinstance(node, MappingNode):
                mapped = Mapped(node)
                kinds.append(mapped.get("kind") or "a document without a kind")
                if mapped.get("kind") == kind:
                    return mapped
        raise SettingsError(f"--merge: expected a {kind}, the file has {', '.join(kinds) or 'no document'}")

    def text(self) -> str:
        """Return the file with the edits."""
        return yaml.serialize_all(
            self._documents,
            Dumper=yaml.SafeDumper,
            explicit_start=len(self._documents) > 1,
            allow_unicode=self._readable,
            width=_NO_FOLDING,
        )


def nodes(value: Any) -> Node:
    """Return the nodes of a Python value."""
    node = yaml.compose(yaml.safe_dump(value, sort_keys=False), Loader=yaml.SafeLoader)
    assert node is not None  # noqa: S101 - a dumped value is a document
    return node


def _is_null(node: Node) -> bool:
    return node.tag == "tag:yaml.org,2002:null"
