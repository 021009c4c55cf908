"""The kubelets: each is asked at most once in a few seconds, and all who want its figures share the one answer."""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple, Protocol

import aiohttp
import msgspec

from auditsplit.telemetry.logs import FIELDS
from metricsapi import summary
from metricsapi.apiserver import Node
from metricsapi.clients import Client, TooLarge
from metricsapi.settings import Settings
from metricsapi.summary import NodeFigures

_PATH = "/stats/summary?only_cpu_and_memory=true"
_MAX_BYTES = 16 * 1024 * 1024
_SLOW_FACTOR = 6
"""A kubelet that took t seconds to fail is asked again after 6 t, or after the cache's time where that is longer."""
_log = logging.getLogger(__name__)


_USUAL = {"no sample", "ended", "no containers"}
"""Why a pod has no figures while it starts or ends. No log line is written for these reasons."""


class Observer(Protocol):
    """What counts the requests to kubelets."""

    def kubelet(self, outcome: str, seconds: float, left_out: Counter[str], /) -> None:
        """Count a request, and the entries of its answer that had no valid figures by reason."""


class _Entry(NamedTuple):
    """What is known of a kubelet: the task that asks it, and until when its outcome is used."""

    address: str
    task: asyncio.Task[NodeFigures | None]


class Kubelets:
    """The figures of nodes, from their kubelets. All methods but the constructor run in a `Loop`."""

    def __init__(self, client: Client, settings: Settings, observer: Observer) -> None:
        """Keep the client, the settings, and what counts the requests."""
        self._client, self._settings, self._observer = client, settings, observer
        self._entries: dict[str, _Entry] = {}
        self._fresh_until: dict[str, float] = {}
        self._complaints: dict[str, str] = {}
        self._turns: asyncio.Semaphore | None = None

    async def figures(self, nodes: Iterable[Node], timeout_s: float) -> dict[str, NodeFigures]:
        """Return the figures of those nodes by name whose kubelets answered within ``timeout_s`` seconds.

        A request that is still under way goes on, and serves the next call.
        """
        tasks = {node.metadata.name: self._task(node) for node in nodes}
        if tasks:
            await asyncio.wait(tasks.values(), timeout=timeout_s)
        done = {name: task.result() for name, task in tasks.items() if task.done() and not task.cancelled()}
        return {name: figures for name, figures in done.items() if figures is not None}

    def forget(self, names: Iterable[str]) -> None:
        """Forget all nodes but these."""
        for name in self._entries.keys() - set(names):
            if self._entries[name].task.done():
                del self._entries[name]
                self._fresh_until.pop(name, None)
                self._complaints.pop(name, None)

    def _task(self, node: Node) -> asyncio.Task[NodeFigures | None]:
        name, address = node.metadata.name, self._address(node)
        entry = self._entries.get(name)
        usable = entry and entry.address == address
        if entry and usable and (not entry.task.done() or time.monotonic() < self._fresh_until.get(name, 0)):
            return entry.task
        task = asyncio.create_task(self._ask(name, address))
        self._entries[name] = _Entry(address, task)
        return task

    def _address(self, node: Node) -> str:
        """Return host and port of the node's kubelet, empty where the node has no address of the chosen types."""
        found = {address.type: address.address for address in reversed(node.status.addresses)}
        found["Name"] = node.metadata.name
        host = next((found[kind] for kind in self._settings.address_types if found.get(kind)), "")
        return f"{f'[{host}]' if ':' in host else host}:{node.kubelet_port()}" if host else ""

    async def _ask(self, name: str, address: str) -> NodeFigures | None:
        self._turns = self._turns or asyncio.Semaphore(self._settings.concurrency)
        async with self._turns:
            began = time.monotonic()
            outcome, message, figures = await self._outcome(address)
            took = time.monotonic() - began
        wait = self._settings.cache_s if figures else max(self._settings.cache_s, _SLOW_FACTOR * took)
        self._fresh_until[name] = time.monotonic() + wait
        self._observer.kubelet(outcome, took, figures.left_out if figures else Counter())
        self._report(name, outcome, message)
        return figures

    async def _outcome(self, address: str) -> tuple[str, str, NodeFigures | None]:
        """Return the outcome as a word, the reason for the log, and the figures."""
        if not address:
            return "address", f"the node has no address of {' '.join(self._settings.address_types)}", None
        url, timeout_s = f"https://{address}{_PATH}", self._settings.kubelet_timeout_s
        try:
            answer = await self._client.send(url, timeout_s, _MAX_BYTES)
            figures = summary.decode(answer.body) if answer.status == 200 else None  # noqa: PLR2004 - OK
        except Exception as error:  # noqa: BLE001 - whatever a kubelet does, the others' figures are shown
            return *_failure(error, timeout_s), None
        if figures is None:
            return "status", f"the kubelet answered {answer.status}: {answer.body[:200]!r}", None
        if unusual := sorted(figures.left_out.keys() - _USUAL):
            return "partial", f"entries of the kubelet's answer have no valid figures: {', '.join(unusual)}", figures
        return "ok", "", figures

    def _report(self, name: str, outcome: str, message: str) -> None:
        """Log a change of a kubelet's outcome, once."""
        if outcome == self._complaints.get(name, "ok"):
            return
        self._complaints[name] = outcome
        level = logging.WARNING if outcome not in ("ok", "partial") else logging.INFO
        _log.log(level, message or "the kubelet answers again", extra={FIELDS: {"node": name, "code": outcome}})


def _failure(error: Exception, timeout_s: float) -> tuple[str, str]:
    """Return the outcome of a request without an answer as a word, and the reason for the log."""
    match error:
        case TooLarge():
            return "too large", f"the kubelet's answer has more than {_MAX_BYTES} bytes"
        case msgspec.DecodeError():
            return "malformed", f"the kubelet's answer is malformed: {error}"
        case TimeoutError():
            return "timeout", f"the kubelet did not answer within {timeout_s:g} s"
        case aiohttp.ClientConnectorCertificateError() | ssl.SSLError() | aiohttp.ClientConnectorSSLError():
            return "certificate", f"the kubelet's certificate is not valid: {error}"
    return "connection", f"the kubelet did not answer: {type(error).__name__}: {error}"
