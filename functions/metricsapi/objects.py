"""NodeMetrics and PodMetrics as values, their quantities, and the field selectors that choose among them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import NamedTuple

from metricsapi.apiserver import Metadata, Node, Pod
from metricsapi.errors import BadSelector
from metricsapi.summary import NodeFigures, Usage

GROUP = "metrics.k8s.io"
NAME = re.compile(r"[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?", re.ASCII)
"""A name that an object or a namespace can have."""

_FIELDS = ("metadata.name", "metadata.namespace")
_OPERATOR = re.compile(r"(?:[^\\!=]|\\.|!(?!=))*?(?P<operator>!=|==|=)", re.DOTALL)
_TERM = re.compile(r"(?:[^\\,]|\\.)+", re.DOTALL)
_ESCAPE = re.compile(r"\\([\\,=])")


class Resource(NamedTuple):
    """A resource of the group."""

    plural: str
    kind: str
    namespaced: bool
    missing: str
    """The kind that a 404 names where the object itself does not exist."""


NODES = Resource("nodes", "NodeMetrics", namespaced=False, missing="node")
PODS = Resource("pods", "PodMetrics", namespaced=True, missing="pods")
RESOURCES: Mapping[str, Resource] = {resource.plural: resource for resource in (NODES, PODS)}


class Item(NamedTuple):
    """The metrics of a node, or of a pod. ``usage`` is by container, by ``""`` for a node."""

    metadata: Metadata
    time: int
    window_s: int
    usage: Mapping[str, Usage]

    @property
    def is_node(self) -> bool:
        """Whether these are the metrics of a node."""
        return "" in self.usage

    @property
    def kind(self) -> str:
        """The kind."""
        return (NODES if self.is_node else PODS).kind

    def cpu(self) -> str:
        """Return the CPU of all containers."""
        return cpu(sum(usage.nanocores for usage in self.usage.values()))

    def memory(self) -> str:
        """Return the memory of all containers."""
        return memory(sum(usage.memory_bytes for usage in self.usage.values()))


def nodes(found: Iterable[Node], figures: Mapping[str, NodeFigures]) -> list[Item]:
    """Return the metrics of the nodes that have figures, by name."""
    items = []
    for node in sorted(found, key=lambda node: node.metadata.name):
        usage = figures[node.metadata.name].node if node.metadata.name in figures else None
        if usage:
            items.append(Item(node.metadata, usage.time, usage.window_s, {"": usage}))
    return items


def pods(found: Iterable[Pod], figures: Mapping[str, NodeFigures]) -> list[Item]:
    """Return the metrics of the pods that have figures, by namespace and name.

    Only the pod's own node tells them, where the node is known. Otherwise the newer figures are shown, because a
    kubelet may still have a pod that another node has taken over, under the same name. Timestamp and window are those
    of the container whose figures are oldest, as metrics-server has it.
    """
    newest: dict[tuple[str, str], Item] = {}
    known = {(pod.metadata.namespace, pod.metadata.name): pod for pod in found}
    for name, node in figures.items():
        for key in node.pods.keys() & known.keys():
            usage = dict(sorted(node.pods[key].items()))
            oldest = min(usage.values(), key=lambda used: used.time)
            is_newer = key not in newest or newest[key].time < oldest.time
            if is_newer and known[key].spec.node_name in ("", name):
                newest[key] = Item(known[key].metadata, oldest.time, oldest.window_s, usage)
    return [newest[key] for key in sorted(newest)]


def cpu(nanocores: int) -> str:
    """Return a quantity of cores in its canonical form."""
    return _canonical(nanocores, 1000, ("n", "u", "m", "", "k", "M"))


def memory(size_bytes: int) -> str:
    """Return a quantity of bytes in its canonical form."""
    return _canonical(size_bytes, 1024, ("", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"))


def _canonical(number: int, base: int, suffixes: tuple[str, ...]) -> str:
    if not number:
        return "0"
    exponent = 0
    while exponent + 1 < len(suffixes) and number % base == 0:
        number, exponent = number // base, exponent + 1
    return f"{number}{suffixes[exponent]}"


def instant(seconds: int) -> str:
    """Return a time in RFC 3339."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"


def field_selector(text: str) -> Callable[[Item], bool]:
    """Return whether an item is selected, by names and namespaces alone. `BadSelector` where ``text`` is not valid."""
    wanted = [_term(term) for term in _TERM.findall(text)]

    def selects(item: Item) -> bool:
        values = dict(zip(_FIELDS, (item.metadata.name, item.metadata.namespace), strict=True))
        return all((values[field] == value) is equal for field, equal, value in wanted)

    return selects


def _term(term: str) -> tuple[str, bool, str]:
    match = _OPERATOR.match(term)
    if not match:
        raise BadSelector(f"invalid selector: '{term[:200]}'; can't understand '{term[:200]}'")
    field, value = term[: match.start("operator")], term[match.end() :]
    plain = _ESCAPE.sub("", value)
    if wrong := next((letter for letter in plain if letter in "\\,="), ""):
        raise BadSelector(f"invalid field selector: unescaped character in value: {ord(wrong)}")
    if field not in _FIELDS:
        only = ", ".join(f'"{name}"' for name in _FIELDS)
        raise BadSelector(f'"{field[:200]}" is not a known field selector: only {only}')
    return field, match["operator"] != "!=", _ESCAPE.sub(r"\1", value)
