"""What the benchmarks send: EventLists made of the recorded events in ``tests/data``, of a chosen size and mix."""

from __future__ import annotations

import itertools
import re
import statistics
from collections.abc import Sequence
from pathlib import Path

AUDIT_LOG = Path(__file__).parents[1] / "tests" / "data" / "audit.log"
MEAN_BYTES = 2200
"""The mean size of an event in the batches; that of the recordings is 0.9 kB without the one of 301 kB."""

BATCH_EVENTS = 400
"""kube-apiserver's default for ``--audit-webhook-batch-max-size``."""

_LINE_START = b'{"kind":"Event","apiVersion":"audit.k8s.io/v1",'
_LIST_START = b'{"kind":"EventList","apiVersion":"audit.k8s.io/v1","metadata":{},"items":['
_LIST_END = b"]}"
_HUGE_BYTES = 100_000
_LARGE_BYTES = 2000
_STRIDE = 89  # no divisor of the number of events, so that every one is visited
_AUDIT_ID = re.compile(rb'"auditID":"[^"]*"')
_USERNAME = re.compile(rb'"user":\{(?:"username":"(?:[^"\\]|\\.)*")?')
_NUMBER = b"#batch-#"
_ON_PODS = b',"objectRef":{"resource":"pods"}'  # an event on nothing would lose its bodies, see `redaction`
_LONE_SURROGATE = rb'"requestObject":{"data":"\ud800"},'


def recorded() -> list[bytes]:
    """Return the recorded events but for the huge one, as list items, users mixed."""
    lines = AUDIT_LOG.read_bytes().splitlines()
    items = [b"{" + line.removeprefix(_LINE_START) for line in lines if len(line) < _HUGE_BYTES]
    return [items[index * _STRIDE % len(items)] for index in range(len(items))]


def mixed(count: int, mean_bytes: int = MEAN_BYTES) -> list[bytes]:
    """Return ``count`` recorded events; the large ones are repeated until the mean is near ``mean_bytes``."""
    any_size = itertools.cycle(recorded())
    large = itertools.cycle([item for item in recorded() if len(item) >= _LARGE_BYTES])
    items: list[bytes] = []
    total = 0
    for index in range(count):
        items.append(next(any_size if total >= mean_bytes * index else large))
        total += len(items[-1])
    return items


def sized(size_bytes: int) -> bytes:
    """Return an event of ``size_bytes``, at least 500: a small recorded one with others as its request object."""
    item = min(recorded(), key=len)[:-1] + _ON_PODS
    room = size_bytes - len(item) - len(b',"requestObject":{"items":[],"pad":""}}')
    inner: list[bytes] = []
    for other in itertools.cycle(recorded()):
        if len(other) + 1 > room:
            break
        inner.append(other)
        room -= len(other) + 1
    return b'%s,"requestObject":{"items":[%s],"pad":"%s"}}' % (item, b",".join(inner), b"x" * max(0, room))


def on_secrets(count: int) -> list[bytes]:
    """Return ``count`` events of 2.2 kB on Secrets, with both bodies, in the order in which kube-apiserver has them."""
    item = min(recorded(), key=len)[:-1].partition(b',"annotations":')[0]
    metadata = b'"metadata":{"name":"s"},"type":"Opaque"'
    secret = b'{"kind":"Secret","apiVersion":"v1",%b,"data":{"key":"%b"}}' % (metadata, b"eHg=" * 160)
    reason = b'"authorization.k8s.io/decision":"allow","authorization.k8s.io/reason":"RBAC: allowed by RoleBinding"'
    end = b',"objectRef":{"resource":"secrets"},"requestObject":%b,"responseObject":%b,"annotations":{%b}}'
    return [item + end % (secret, secret, reason)] * count


def of_users(items: Sequence[bytes], users: int) -> list[bytes]:
    """Return the events with ``users`` different users, in turn."""
    return [
        _USERNAME.sub(b'"user":{"username":"user-%d@example.com"' % (index % users), item, count=1)
        for index, item in enumerate(items)
    ]


def event_list(items: Sequence[bytes]) -> bytes:
    """Return the body that kube-apiserver would post."""
    return _LIST_START + b",".join(items) + _LIST_END


def with_lone_surrogate(items: Sequence[bytes]) -> list[bytes]:
    """Return the events, the one in the middle with what makes the fast parsers refuse the whole list."""
    changed = list(items)
    middle = len(changed) // 2
    changed[middle] = b"{" + _LONE_SURROGATE + changed[middle][1:]
    return changed


class Batches:
    """Bodies of the same events that differ in every ``auditID``: equal ones would count as retries."""

    def __init__(self, items: Sequence[bytes]) -> None:
        """Take the events of each batch."""
        self.events = len(items)
        self._template = event_list(
            [
                _AUDIT_ID.sub(b'"auditID":"%s-0000-4000-8000-%012x"' % (_NUMBER, index), item, count=1)
                for index, item in enumerate(items)
            ]
        )
        self.bytes = len(self._template)

    def body(self, number: int) -> bytes:
        """Return the batch of that number."""
        return self._template.replace(_NUMBER, b"%08x" % number)


def described(items: Sequence[bytes]) -> str:
    """Return in words how many events there are, and how large."""
    sizes = [len(item) for item in items]
    mean, median = statistics.mean(sizes), statistics.median(sizes)
    return f"{len(items)} events, {sum(sizes) / 1e6:.2f} MB, {mean:.0f} bytes on average, median {median:.0f}"
