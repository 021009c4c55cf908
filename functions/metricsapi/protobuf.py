"""Kubernetes' protobuf encoding of the few messages that the Metrics API has.

The messages are those of k8s.io/metrics and k8s.io/apimachinery. Their encoder writes empty fields too, which the
recorded answers show, so that the same object has the same bytes here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from metricsapi.objects import Item, cpu, memory

_NANOSECONDS = 10**9
_VARINT, _BYTES = 0, 2


def envelope(api_version: str, kind: str, message: bytes) -> bytes:
    """Return a message in Kubernetes' envelope, ``runtime.Unknown`` behind four bytes."""
    meta = _text(1, api_version) + _text(2, kind)
    return b"k8s\0" + _field(1, meta) + _field(2, message) + _text(3, "") + _text(4, "")


def item(one: Item, now: int) -> bytes:
    """Return a NodeMetrics or PodMetrics message. ``now`` is its creation time."""
    head = _field(1, _object_meta(one, now)) + _field(2, _time(one.time))
    head += _field(3, _number(1, one.window_s * _NANOSECONDS))
    if one.is_node:
        return head + _usage(4, one.cpu(), one.memory())
    containers = (
        _text(1, name) + _usage(2, cpu(usage.nanocores), memory(usage.memory_bytes))
        for name, usage in one.usage.items()
    )
    return head + b"".join(_field(4, container) for container in containers)


def items(all_items: Iterable[Item], now: int) -> bytes:
    """Return a NodeMetricsList or PodMetricsList message."""
    return _field(1, _LIST_META) + b"".join(_field(2, item(one, now)) for one in all_items)


def status(document: Mapping[str, Any]) -> bytes:
    """Return a Status message."""
    message = _field(1, _LIST_META) + _text(2, document["status"])
    message += _text(3, document["message"]) + _text(4, document["reason"])
    if (details := document.get("details")) is not None:
        named = b"".join(
            _text(number, details.get(name, "")) for number, name in ((1, "name"), (2, "group"), (3, "kind"))
        )
        message += _field(5, named + _number(5, 0) + _text(6, ""))
    return message + _number(6, document["code"])


def _object_meta(one: Item, now: int) -> bytes:
    meta = _text(1, one.metadata.name) + _text(2, "") + _text(3, one.metadata.namespace)
    meta += _text(4, "") + _text(5, "") + _text(6, "") + _number(7, 0) + _field(8, _time(now))
    labels = sorted(one.metadata.labels.items())
    return meta + b"".join(_field(11, _text(1, key) + _text(2, value)) for key, value in labels)


def _time(seconds: int) -> bytes:
    return _number(1, seconds) + _number(2, 0)


def _usage(number: int, cores: str, size: str) -> bytes:
    quantities = (("cpu", cores), ("memory", size))
    return b"".join(_field(number, _text(1, name) + _field(2, _text(1, amount))) for name, amount in quantities)


def _text(number: int, text: str) -> bytes:
    return _field(number, text.encode())


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | _BYTES) + _varint(len(content)) + content


def _number(number: int, value: int) -> bytes:
    return _varint(number << 3 | _VARINT) + _varint(value)


def _varint(value: int) -> bytes:
    groups = []
    while value > 0x7F:  # noqa: PLR2004 - seven bits a byte
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*groups, value])


_LIST_META = _text(1, "") + _text(2, "") + _text(3, "")
