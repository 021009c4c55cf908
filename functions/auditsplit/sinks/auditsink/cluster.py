"""AuditSinks of a cluster: objects of the CRD in infra/kubernetes/auditsinks.yaml, with a status.

The objects are listed each `LOOK_S` while batches come. In a pod, the credentials are those of its service account.
Elsewhere they are those of the kubeconfig in ``KUBECONFIG``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from logging import INFO, WARNING, getLogger
from typing import Any, NamedTuple

import httpx2
from lightkube import Client
from lightkube.core.exceptions import ConfigError
from lightkube.generic_resource import create_global_resource
from lightkube.types import PatchType

from auditsplit.sinks import Sink
from auditsplit.sinks.auditsink import manifest
from auditsplit.sinks.auditsink.manifest import AuditSink
from auditsplit.sinks.auditsink.sink import AuditSinks, Options
from auditsplit.sinks.options import Target

__all__ = ["Options", "build", "mistakes"]

_GROUP, _, _VERSION = manifest.API_VERSION.partition("/")
RESOURCE = create_global_resource(_GROUP, _VERSION, manifest.KIND, "auditsinks")
_TYPE = {"apiVersion": manifest.API_VERSION, "kind": manifest.KIND}  # objects in a list have neither
_TIMEOUT_S = 2.0
_MAX_MESSAGE = 1000
_log = getLogger(__name__)


def mistakes(target: Target[Options]) -> Iterable[str]:
    """Yield what is wrong with an ``auditsink+kubernetes:`` URL, and with this process's access to the cluster."""
    if target.host or target.path:
        yield "write auditsink+kubernetes: without a place. KUBECONFIG names another cluster than the pod's own"
        return
    try:
        _connect()
    except (ConfigError, OSError) as error:
        yield f"no access to a cluster: {error}. Run in a pod with a service account, or set KUBECONFIG"


def build(target: Target[Options], _: Mapping[str, str]) -> Sink:
    """Return the sink of the cluster's AuditSinks."""
    return AuditSinks(target.url, Cluster(_connect()), target.options)


def _connect() -> Client:
    return Client(timeout=httpx2.Timeout(_TIMEOUT_S), field_manager="auditsplit")


class _Condition(NamedTuple):
    """The condition ``Ready`` of an AuditSink: whether it is delivered to."""

    status: str
    reason: str
    message: str


class Cluster:
    """The AuditSinks of a cluster, as `auditsplit.sinks.auditsink.sink.Source`."""

    def __init__(self, client: Client) -> None:
        """Ask nothing yet."""
        self._client = client
        self._known: dict[str, AuditSink] = {}

    def read(self, outcomes: Mapping[str, str]) -> Mapping[str, AuditSink]:
        """See `Source.read`. An object that is malformed keeps its last good version."""
        try:
            objects: list[dict[str, Any]] = [dict(item) for item in self._client.list(RESOURCE)]
        except (httpx2.HTTPError, OSError) as error:
            _log.error("the AuditSinks cannot be listed: %s. They stay as they were", error)
            return self._known
        found: dict[str, AuditSink] = {}
        for each in objects:
            name = each["metadata"]["name"]
            read = manifest.read(json.dumps({**_TYPE, **each}).encode())
            problem = "; ".join(f"{problem.path}: {problem.message}" for problem in read.problems)
            if read.sinks:
                found[name] = read.sinks[0]
            elif name in self._known:
                found[name] = self._known[name]
            self._report(each, _condition(problem, outcomes.get(name)))
        self._known = found
        return found

    def _report(self, one: Mapping[str, Any], condition: _Condition | None) -> None:
        """Write the condition into the object's status, if it differs from the one there."""
        if condition is None:
            return
        conditions = (one.get("status") or {}).get("conditions") or []
        before: dict[str, Any] = next((each for each in conditions if each.get("type") == "Ready"), {})
        if before.get("status") == condition.status and before.get("reason") == condition.reason:
            return
        name, generation = one["metadata"]["name"], one["metadata"].get("generation")
        _log.log(WARNING if condition.status == "False" else INFO, "AuditSink %s: %s", name, condition.message)
        ready = {
            "type": "Ready",
            **condition._asdict(),
            "observedGeneration": generation,
            "lastTransitionTime": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        try:
            self._client.patch(RESOURCE.Status, name, {"status": {"conditions": [ready]}}, patch_type=PatchType.MERGE)
        except (httpx2.HTTPError, OSError) as error:
            _log.error("the status of the AuditSink %s cannot be written: %s", name, error)


def _condition(problem: str, outcome: str | None) -> _Condition | None:
    """Return what is to be reported. None if nothing is known."""
    if problem:
        message = f"{problem}. The last good version stays in use, if there was one"
        return _Condition("False", "Invalid", message[:_MAX_MESSAGE])
    if outcome is None:
        return None
    if outcome:
        return _Condition("False", "NotDelivered", f"the last batch was not delivered: {outcome}"[:_MAX_MESSAGE])
    return _Condition("True", "Delivered", "the last batch was delivered")
