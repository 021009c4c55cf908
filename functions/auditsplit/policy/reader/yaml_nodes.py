"""Read YAML as kube-apiserver does, with the position of each value.

kube-apiserver reads YAML with ``sigs.k8s.io/yaml``, which is go-yaml 2. It reads the first document of a file, takes
``y`` and ``on`` for booleans, and accepts aliases until they make up nearly all of the document.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import yaml

from auditsplit.policy.reader.nodes import MAX_DEPTH, Member, Node, Position, Refusal, Value
from auditsplit.policy.reader.scalars import resolve

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # Go's parser is an older translation of this C library
_LATE_MARK = re.compile("[\r\n\x85\u2028\u2029]\ufeff")
_TAG = "tag:yaml.org,2002:"
_MERGE = "<<"
_MIN_ALIASED, _MIN_VALUES = 100, 1_000
_FEW_VALUES, _MANY_VALUES = 400_000, 4_000_000
_MAX_RATIO_OF_FEW, _MAX_RATIO_OF_MANY = 0.99, 0.10


class _Raw(NamedTuple):
    """A node as it is written: ``content`` is a scalar's text, the children, or the node that an alias names."""

    kind: type
    content: Any
    position: Position
    tag: str
    plain: bool


def parse(text: bytes) -> Node:
    """Return the first document in ``text``. `Refusal` where it is not valid YAML."""
    if late := _LATE_MARK.search(content := text.decode(errors="replace")):  # the C library skips it, Go does not
        line = content.count("\n", 0, late.end()) + 1
        raise Refusal("a byte order mark is not at the beginning of the file. Remove it", Position(line, 1))
    try:
        root = _Composer(yaml.parse(text, Loader=_Loader)).document()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "unreadable"
        raise Refusal(f"not valid YAML: {problem}", _position(mark)) from None
    return Node(None, Position(1, 1)) if root is None else _Converter().node(root, 0)


def _position(mark: Any) -> Position:
    return Position(mark.line + 1, mark.column + 1) if mark else Position()


class _Composer:
    """Makes nodes of a parser's events."""

    def __init__(self, events: Iterator[yaml.Event]) -> None:
        self._events = events
        self._anchors: dict[str, _Raw] = {}

    def document(self) -> _Raw | None:
        """Return the root of the first document. None of an empty stream."""
        for event in self._events:
            if isinstance(event, yaml.StreamEndEvent):
                return None
            if isinstance(event, yaml.DocumentStartEvent):
                root = self._node(next(self._events), 0)
                next(self._events)  # the end of the document: nothing but comments may be between
                return root
        return None

    def _node(self, event: Any, depth: int, *, in_flow: bool = False) -> _Raw:
        position = _position(event.start_mark)
        if depth > MAX_DEPTH:
            raise Refusal(f"more than {MAX_DEPTH} levels", position)
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in self._anchors:
                raise Refusal(f"no anchor &{event.anchor} is before the alias *{event.anchor}", position)
            return _Raw(yaml.AliasEvent, self._anchors[event.anchor], position, event.anchor, plain=False)
        scalar = isinstance(event, yaml.ScalarEvent)
        implicit = event.implicit[0] if scalar else False
        if scalar and in_flow and not event.style and "?" in event.value:  # the C library's newer versions accept it
            raise Refusal("between brackets, text with a question mark must be in quotes", position)
        tag = event.tag or ""
        node = _Raw(type(event), event.value if scalar else [], position, tag, plain=implicit)
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        if not scalar:
            node.content.extend(self._children(depth, in_flow=in_flow or event.flow_style))
        return node

    def _children(self, depth: int, *, in_flow: bool) -> Iterator[_Raw]:
        for event in self._events:
            if isinstance(event, yaml.CollectionEndEvent):
                return
            yield self._node(event, depth + 1, in_flow=in_flow)


class _Converter:
    """Makes values of nodes: resolves scalars, and puts copies in the places of aliases."""

    def __init__(self) -> None:
        self._values, self._aliased, self._alias_depth = 1, 0, 0  # Go counts the document too
        self._active: set[int] = set()

    def node(self, raw: _Raw, depth: int) -> Node:
        """Return the value of ``raw``."""
        self._count(raw.position, depth)
        if raw.kind is yaml.AliasEvent:
            return self._alias(raw, depth)
        if raw.kind is yaml.ScalarEvent:
            return Node(_scalar(raw), raw.position)
        if raw.kind is yaml.SequenceStartEvent:
            return Node([self.node(child, depth + 1) for child in raw.content], raw.position)
        return Node(tuple(self._members(raw, depth)), raw.position)

    def _count(self, position: Position, depth: int) -> None:
        """Count a value. Refuse aliases that would make a small file a large document, as Go does."""
        self._values += 1
        self._aliased += self._alias_depth > 0
        enough = self._aliased > _MIN_ALIASED and self._values > _MIN_VALUES
        if enough and self._aliased / self._values > _max_aliased(self._values):
            raise Refusal("aliases make up nearly all of the document. Write the values out", position)
        if depth > MAX_DEPTH:
            raise Refusal(f"more than {MAX_DEPTH} levels", position)

    def _alias(self, raw: _Raw, depth: int) -> Node:
        if id(raw.content) in self._active:
            raise Refusal(f"the value of anchor &{raw.tag} contains itself", raw.position)
        self._active.add(id(raw.content))
        self._alias_depth += 1
        value = self.node(raw.content, depth + 1).value
        self._alias_depth -= 1
        self._active.discard(id(raw.content))
        return Node(value, raw.position)

    def _members(self, raw: _Raw, depth: int) -> Iterator[Member]:
        """Yield the members of a mapping. Those that ``<<`` merges are in the place of the ``<<``."""
        for name, value in zip(raw.content[::2], raw.content[1::2], strict=True):
            if name.kind is yaml.ScalarEvent and name.content == _MERGE and (name.plain or name.tag == f"{_TAG}merge"):
                yield from self._merged(value, depth)
                continue
            key = self.node(name, depth + 1)
            yield Member(_key(key), name.position, self.node(value, depth + 1))

    def _merged(self, raw: _Raw, depth: int) -> Iterator[Member]:
        nodes = reversed(raw.content) if raw.kind is yaml.SequenceStartEvent else [raw]
        for each in nodes:
            target = each.content if each.kind is yaml.AliasEvent else each
            if target.kind is not yaml.MappingStartEvent:
                raise Refusal("<< requires a mapping, or a sequence of mappings", each.position)
            value = self.node(each, depth + 1).value
            yield from value if isinstance(value, tuple) else ()


def _max_aliased(values: int) -> float:
    """Return which part of ``values`` may come from aliases."""
    excess = min(max(values - _FEW_VALUES, 0) / (_MANY_VALUES - _FEW_VALUES), 1.0)
    return _MAX_RATIO_OF_FEW - excess * (_MAX_RATIO_OF_FEW - _MAX_RATIO_OF_MANY)


def _key(node: Node) -> str:
    """Return the name that a key of any type becomes in JSON."""
    match node.value:
        case str():
            return node.value
        case bool():
            return "true" if node.value else "false"
        case int() | float():
            return str(node.value)
    raise Refusal("the name of a field must be text", node.position)


def _scalar(raw: _Raw) -> Value:
    if not raw.tag and not raw.plain:
        return str(raw.content)
    if raw.tag == f"{_TAG}binary":
        try:
            return base64.b64decode(re.sub(r"[\r\n]", "", raw.content), validate=True).decode(errors="replace")
        except (binascii.Error, ValueError):
            raise Refusal("!!binary requires base64", raw.position) from None
    try:
        return resolve(raw.tag.removeprefix(_TAG), raw.content)
    except ValueError as error:
        raise Refusal(str(error), raw.position) from None
