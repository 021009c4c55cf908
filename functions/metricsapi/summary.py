"""A kubelet's answer to ``/stats/summary``, decoded pod by pod: a malformed pod costs no other its figures."""

from __future__ import annotations

import re
import time
from collections import Counter
from datetime import datetime
from typing import Annotated, NamedTuple

import msgspec

WINDOW_S = 20
"""The longest time between the two samples of a rate, in seconds.

The summary does not tell the time. A kubelet samples a container every 10 to 20 seconds (10 s, with a jitter of the
same length).
"""

_MAX_NANOCORES = 10**15
"""A million cores. A counter that went back shows as a rate near 2^64."""

_MAX_BYTES = 2**60
_MAX_PODS = 5_000
_MAX_AHEAD_S = 3600
"""How far a node's clock may be ahead."""

_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.\d{1,9})?(Z|[+-]\d\d:\d\d)", re.ASCII)


class Usage(NamedTuple):
    """What a node or container used."""

    nanocores: int
    memory_bytes: int
    time: int
    """The end of the window, in seconds since 1970."""
    window_s: int


class NodeFigures(NamedTuple):
    """What a kubelet's answer has. ``left_out`` counts the entries without valid figures by reason."""

    node: Usage | None
    pods: dict[tuple[str, str], dict[str, Usage]]
    """By namespace and name: the usage of each container by its name."""
    left_out: Counter[str]


class LeftOut(Exception):
    """An entry has no valid figures. The message is the reason, one of a few words."""


class _Cpu(msgspec.Struct, rename="camel"):
    time: str = ""
    usage_nano_cores: int | None = None
    usage_core_nano_seconds: int | None = None


class _Memory(msgspec.Struct, rename="camel"):
    working_set_bytes: int | None = None


class _Entry(msgspec.Struct, rename="camel"):
    name: str = ""
    start_time: str = ""
    cpu: _Cpu | None = None
    memory: _Memory | None = None


class _Ref(msgspec.Struct):
    name: str
    namespace: str


class _Pod(msgspec.Struct, rename="camel"):
    pod_ref: _Ref
    containers: list[_Entry] = []


class _Summary(msgspec.Struct):
    node: msgspec.Raw
    pods: Annotated[list[msgspec.Raw], msgspec.Meta(max_length=_MAX_PODS)] = []


_SUMMARY = msgspec.json.Decoder(_Summary)
_ENTRY = msgspec.json.Decoder(_Entry)
_POD = msgspec.json.Decoder(_Pod)


def decode(body: bytes) -> NodeFigures:
    """Return the figures in a kubelet's answer. `msgspec.DecodeError` where the answer as a whole is malformed."""
    summary = _SUMMARY.decode(body)
    found = NodeFigures(_node(summary.node), {}, Counter())
    for raw in summary.pods:
        try:
            pod = _POD.decode(raw)
            key = (pod.pod_ref.namespace, pod.pod_ref.name)
            found.pods[key] = _containers(pod)
        except msgspec.DecodeError:
            found.left_out["malformed"] += 1
        except LeftOut as reason:
            found.left_out[str(reason)] += 1
    if found.node is None:
        found.left_out["node"] += 1
    return found


def _node(raw: msgspec.Raw) -> Usage | None:
    try:
        return _usage(_ENTRY.decode(raw))
    except (msgspec.DecodeError, LeftOut):
        return None


def _containers(pod: _Pod) -> dict[str, Usage]:
    """Return the usage of all containers of a pod: a sum without one of them would be too low."""
    if not pod.containers:
        raise LeftOut("no containers")
    usage = {container.name: _usage(container) for container in pod.containers}
    if "" in usage or len(usage) < len(pod.containers):
        raise LeftOut("malformed")
    return usage


def _usage(entry: _Entry) -> Usage:
    """Return the usage of a node or container.

    The rate is missing in the first seconds of a container. Its memory and CPU time are 0 once it has ended.
    """
    cpu, memory = entry.cpu or _Cpu(), entry.memory or _Memory()
    rate, total, used = cpu.usage_nano_cores, cpu.usage_core_nano_seconds, memory.working_set_bytes
    if rate is None or total is None or used is None:
        raise LeftOut("no sample")
    if total == 0 or used == 0:
        raise LeftOut("ended")
    if not (0 <= rate <= _MAX_NANOCORES and total > 0 and 0 < used <= _MAX_BYTES):
        raise LeftOut("out of range")
    until = _seconds(cpu.time)
    age = until - _seconds(entry.start_time) if entry.start_time else WINDOW_S
    return Usage(rate, used, until, min(WINDOW_S, max(age, 1)))


def _seconds(text: str) -> int:
    """Return a time after 1970 that is not far ahead, in seconds since 1970."""
    match = _TIME.fullmatch(text)
    try:
        seconds = int(datetime.fromisoformat(match[1] + match[2]).timestamp()) if match else 0
    except (ValueError, OverflowError):
        seconds = 0
    if not 0 < seconds < time.time() + _MAX_AHEAD_S:
        raise LeftOut("no time")
    return seconds
