"""The kubelets: each is asked at most once in a few seconds, and all who want its figures share the one answer."""

from __future__ import annotations

import asyncio
import functools
import logging
import ssl
import time
from collections import Counter
from collections.abc import Iterable
from http import HTTPStatus
from typing import NamedTuple

import aiohttp
import msgspec

from auditsplit.telemetry.logs import FIELDS
from metricsapi import summary
from metricsapi.apiserver import Node
from metricsapi.clients import Client, TooLarge
from metricsapi.counters import Counters
from metricsapi.settings import Settings
from metricsapi.shared import Shared
from metricsapi.summary import NodeFigures

_PATH = "/stats/summary?only_cpu_and_memory=true"
_PORT = 10250
_MAX_BYTES = 4 * 1024 * 1024
"""Some 2,000 containers. What a kubelet sends is decoded in the loop that serves all others too."""
_SLOW_FACTOR = 6
"""A kubelet that took t seconds to fail is asked again after 6 t, or after the cache's time where that is longer."""
_USUAL = {"no sample", "ended", "no containers"}
"""Why a pod has no figures while it starts or ends. No log line is written for these reasons."""
_MAX_COMPLAINTS = 10_000
"""Of how many failing nodes it is remembered that the log has told."""
_log = logging.getLogger(__name__)


class _Outcome(NamedTuple):
    """What a kubelet's answer is worth, and for how many seconds."""

    figures: NodeFigures | None
    keep_s: float


class Kubelets:
    """The figures of nodes, from their kubelets. All methods but the constructor run in a `Loop`."""

    def __init__(self, client: Client, settings: Settings, counters: Counters) -> None:
        """Keep the client, the settings, and what counts the requests."""
        self._client, self._settings, self._counters = client, settings, counters
        self._answers: Shared[_Outcome] = Shared(lambda outcome: outcome.keep_s)
        self._complaints: dict[str, str] = {}
        self._turns = asyncio.Semaphore(settings.concurrency)

    async def figures(self, nodes: Iterable[Node], timeout_s: float) -> dict[str, NodeFigures]:
        """Return the figures of those nodes by name whose kubelets answered within ``timeout_s`` seconds.

        A request that is still under way goes on, and serves the next call.
        """
        asked = {node.metadata.name: self._address(node) for node in nodes}
        tasks = [self._answers.task(each, functools.partial(self._ask, *each)) for each in asked.items()]
        if tasks:
            await asyncio.wait(tasks, timeout=timeout_s)
        done = zip(asked, tasks, strict=True)
        return {name: figures for name, task in done if _ended(task) and (figures := task.result().figures)}

    def _address(self, node: Node) -> str:
        """Return host and port of the node's kubelet, empty where the node has no address of the chosen types."""
        found = {address.type: address.address for address in reversed(node.status.addresses)}
        found["Name"] = node.metadata.name
        host = next((found[kind] for kind in self._settings.address_types if found.get(kind)), "")
        port = node.status.daemon_endpoints.kubelet_endpoint.port or _PORT
        return f"{f'[{host}]' if ':' in host else host}:{port}" if host else ""

    async def _ask(self, name: str, address: str) -> _Outcome:
        async with self._turns:
            began = time.monotonic()
            outcome, message, figures = await self._outcome(address)
            took = time.monotonic() - began
        self._counters.kubelet(outcome, took, figures.left_out if figures else Counter())
        self._report(name, outcome, message)
        return _Outcome(figures, max(self._settings.cache_s, 0 if figures else _SLOW_FACTOR * took))

    async def _outcome(self, address: str) -> tuple[str, str, NodeFigures | None]:
        """Return the outcome as a word, the reason for the log, and the figures."""
        if not address:
            return "address", f"the node has no address of {' '.join(self._settings.address_types)}", None
        url, timeout_s = f"https://{address}{_PATH}", self._settings.kubelet_timeout_s
        try:
            answer = await self._client.send(url, timeout_s, _MAX_BYTES)
            figures = summary.decode(answer.body) if answer.status == HTTPStatus.OK else None
        except Exception as error:  # noqa: BLE001 - whatever a kubelet does, the others' figures are shown
            return *_failure(error, timeout_s), None
        if figures is None:
            return "status", f"the kubelet answered {answer.status}: {answer.body[:200]!r}", None
        if unusual := sorted(figures.left_out.keys() - _USUAL):
            return "partial", f"entries of the kubelet's answer have no valid figures: {', '.join(unusual)}", figures
        return "ok", "", figures

    def _report(self, name: str, outcome: str, message: str) -> None:
        """Log a change of a kubelet's outcome, once."""
        before = self._complaints.pop(name, "ok")
        if outcome != "ok":
            self._complaints[name] = outcome
        if len(self._complaints) > _MAX_COMPLAINTS:
            del self._complaints[next(iter(self._complaints))]
        if outcome != before:
            level = logging.INFO if outcome in ("ok", "partial") else logging.WARNING
            _log.log(level, message or "the kubelet answers again", extra={FIELDS: {"node": name, "code": outcome}})


def _ended(task: asyncio.Task[_Outcome]) -> bool:
    return task.done() and not task.cancelled()


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
