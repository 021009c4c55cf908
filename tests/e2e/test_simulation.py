"""The simulation against kube-apiserver's own backends: the same loads and receivers, and the counts compared.

``buffered/main.go`` drives the real code of k8s.io/apiserver; ``make .cache/bin/buffered`` builds it.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from click.testing import CliRunner

from auditsplit.apiserver.flags.simulation import (
    TICK_S,
    Backend,
    Behaviour,
    LoadPeriod,
    Outcome,
    ReceiverPeriod,
    simulate,
)
from auditsplit.apiserver.flags.sizing import OBJECT_BYTES
from auditsplit.cli import main
from auditsplit.policy.profiles import PROFILES

PROGRAM = Path(__file__).parents[2] / ".cache" / "bin" / "buffered"
POLICIES = Path(__file__).parents[2] / "functions" / "auditsplit" / "policy" / "profiles"
EVENT_BYTES = 2000


class Scenario(NamedTuple):
    """A load, the flags and the receiver; ``within`` events the counts may differ."""

    phases: list[LoadPeriod]
    backend: Backend
    receivers: list[ReceiverPeriod]
    within: int = 0
    listens_at: float = 0.0  # until then the port refuses connections


TAKES = [ReceiverPeriod(0.0, latency_s=0.0)]
QUICK = Backend(10_000, 100, 0.5, True, 50.0, 20, 0.2)  # noqa: FBT003
THROTTLED = QUICK._replace(batch_buffer_size=1000, batch_max_size=50, batch_throttle_qps=10.0, batch_throttle_burst=5)


def away(kind: Behaviour, start: float, end: float) -> list[ReceiverPeriod]:
    """Return a receiver that does ``kind`` from ``start`` to ``end``, and takes events before and after."""
    return [
        ReceiverPeriod(0.0, latency_s=0.0),
        ReceiverPeriod(start, kind, latency_s=0.0),
        ReceiverPeriod(end, latency_s=0.0),
    ]


# The tolerances. Without losses there is none. With an overload, a batch may go to either side of each end of the load,
# and so may the events of two ticks, since the two processes' clocks are not one. With an outage, the last attempt of a
# batch falls within 0.2 x 1.625 s = 0.325 s by its jitter, which at ten batches a second decides over 3.25 batches; one
# more at either end.
SCENARIOS: Mapping[str, Scenario] = {
    "steady": Scenario([LoadPeriod(3, 1000)], QUICK, TAKES),
    "waits": Scenario([LoadPeriod(3, 50)], QUICK._replace(batch_max_wait=0.3), TAKES),
    "not throttled": Scenario([LoadPeriod(3, 2000)], THROTTLED._replace(batch_throttle_enable=False), TAKES),
    "overload": Scenario([LoadPeriod(4, 2000)], THROTTLED, TAKES, within=2 * 50 + 2 * 20),
    "spikes": Scenario(
        [LoadPeriod(2, 100), LoadPeriod(1, 3000), LoadPeriod(3, 100), LoadPeriod(1, 3000)],
        THROTTLED,
        TAKES,
        within=4 * 50 + 4 * 30,
    ),
    "one at a time": Scenario(
        [LoadPeriod(4, 100)], THROTTLED._replace(batch_max_size=1, batch_buffer_size=30), TAKES, within=6
    ),
    "slower than the buffer": Scenario(
        [LoadPeriod(3, 500)], QUICK._replace(batch_buffer_size=100), [ReceiverPeriod(0.0, latency_s=2.0)]
    ),
    "away within the retries": Scenario(
        [LoadPeriod(4, 500)], QUICK._replace(batch_max_size=50), away(Behaviour.FAILS, 1.0, 2.3)
    ),
    "away beyond the retries": Scenario(
        [LoadPeriod(6, 500)], QUICK._replace(batch_max_size=50), away(Behaviour.FAILS, 1.0, 5.0), within=6 * 50
    ),
    "not there at first": Scenario(
        [LoadPeriod(5, 500)],
        QUICK._replace(batch_max_size=50),
        [ReceiverPeriod(0.0, Behaviour.FAILS, 0.0), ReceiverPeriod(3.5, latency_s=0.0)],
        within=6 * 50,
        listens_at=3.5,
    ),
    "asks for a retry": Scenario([LoadPeriod(6, 500)], QUICK, away(Behaviour.RETRY_AFTER, 1.0, 5.0)),
    "hangs": Scenario([LoadPeriod(3, 500)], QUICK, away(Behaviour.HANGS, 1.0, 2.0)),
}


@contextlib.contextmanager
def receiving(scenario: Scenario) -> Iterator[tuple[ThreadingHTTPServer, list[int]]]:
    """Run the scenario's receiver; yield it and the sizes of the lists that it took."""
    taken: list[int] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            since = time.monotonic() - self.server.begun  # type: ignore[attr-defined]
            receiver = next(receiver for receiver in reversed(scenario.receivers) if receiver.start_s <= since)
            time.sleep(40 if receiver.behaviour is Behaviour.HANGS else receiver.latency_s)
            if receiver.behaviour is Behaviour.ACCEPTS:
                taken.append(body.count(b'"auditID"'))
            with contextlib.suppress(OSError):  # the client of a request that hung has left
                self.send_response({Behaviour.ACCEPTS: 200, Behaviour.RETRY_AFTER: 503}.get(receiver.behaviour, 500))
                if receiver.behaviour is Behaviour.RETRY_AFTER:
                    self.send_header("Retry-After", "1")
                self.send_header("Content-Length", "0")
                self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler, bind_and_activate=False)
    server.request_queue_size = 512
    server.daemon_threads = True
    server.block_on_close = False
    server.server_bind()
    if not scenario.listens_at:
        server.server_activate()
    try:
        yield server, taken
    finally:
        server.shutdown()
        server.server_close()


def drive(scenario: Scenario, folder: Path, event_bytes: int = EVENT_BYTES) -> tuple[dict[str, float], list[int]]:
    """Return what the real backends counted, and the sizes of the lists that arrived."""
    folder.mkdir()
    with receiving(scenario) as (server, taken):
        kubeconfig = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "a", "cluster": {"server": f"http://127.0.0.1:{server.server_address[1]}/"}}],
            "contexts": [{"name": "a", "context": {"cluster": "a", "user": ""}}],
            "current-context": "a",
        }
        (folder / "kubeconfig").write_text(json.dumps(kubeconfig))
        (folder / "scenario").write_text(json.dumps(_settings(scenario, folder / "kubeconfig", event_bytes)))
        command = [str(PROGRAM), "drive", str(folder / "scenario")]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr
            assert process.stderr.readline() == "started\n"
            server.begun = time.monotonic()  # type: ignore[attr-defined]
            if scenario.listens_at:
                time.sleep(scenario.listens_at)
                server.server_activate()
            threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
            counted, complaint = process.communicate(timeout=120)
        assert process.returncode == 0, complaint
        return json.loads(counted), taken


def _settings(scenario: Scenario, kubeconfig: Path, event_bytes: int) -> dict[str, Any]:
    backend = scenario.backend
    return {
        "kubeconfig": str(kubeconfig),
        "initial_backoff_s": backend.initial_backoff,
        "buffer_size": backend.batch_buffer_size,
        "batch_max_size": backend.batch_max_size,
        "batch_max_wait_s": backend.batch_max_wait,
        "throttle_enable": backend.batch_throttle_enable,
        "throttle_qps": backend.batch_throttle_qps,
        "throttle_burst": backend.batch_throttle_burst,
        "phases": [phase._asdict() for phase in scenario.phases],
        "tick_s": TICK_S,
        "event_bytes": event_bytes,
    }


def simulated(scenario: Scenario) -> Outcome:
    """Return the simulation's outcome."""
    return simulate(scenario.phases, scenario.backend, scenario.receivers)


@pytest.fixture(scope="module")
def driven(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[dict[str, float], list[int]]]:
    """Return what the real backends did in each scenario; four at a time, since most of it is waiting."""
    folder = tmp_path_factory.mktemp("driven")
    with ThreadPoolExecutor(4) as pool:
        running = {
            name: pool.submit(drive, scenario, folder / str(number))
            for number, (name, scenario) in enumerate(SCENARIOS.items())
        }
        return {name: future.result() for name, future in running.items()}


@pytest.mark.parametrize("name", SCENARIOS)
def test_as_many_are_delivered_dropped_and_lost(
    driven: dict[str, tuple[dict[str, float], list[int]]], name: str
) -> None:
    """The real backends' counters say what the simulation says, and so does the receiver."""
    (counted, taken), scenario = driven[name], SCENARIOS[name]

    expected = simulated(scenario)

    assert counted["offered"] == expected.offered
    assert counted.get("buffered", 0) == pytest.approx(expected.dropped, abs=scenario.within)
    assert counted.get("webhook", 0) == pytest.approx(expected.lost, abs=scenario.within)
    assert sum(taken) == counted["offered"] - counted.get("buffered", 0) - counted.get("webhook", 0)


def test_the_scenarios_tell_something() -> None:
    """Some lose events for a full buffer, some after their retries, by far more than the tolerance; others none."""
    outcomes = {name: simulated(scenario) for name, scenario in SCENARIOS.items()}

    assert all(outcomes[name].dropped > 5 * SCENARIOS[name].within for name in ("overload", "spikes", "one at a time"))
    assert all(
        outcomes[name].lost > 2 * SCENARIOS[name].within for name in ("away beyond the retries", "not there at first")
    )
    assert all(not outcome.dropped + outcome.lost for name, outcome in outcomes.items() if not SCENARIOS[name].within)


@pytest.mark.parametrize("name", ["steady", "waits", "not throttled"])
def test_as_many_lists_arrive(driven: dict[str, tuple[dict[str, float], list[int]]], name: str) -> None:
    """Batches are as full as simulated; one more or less, where the last wait ends with the load."""
    _, taken = driven[name]

    assert len(taken) == pytest.approx(len(simulated(SCENARIOS[name]).batches), abs=1)


def test_a_hanging_receiver_costs_its_batches_half_a_minute(
    driven: dict[str, tuple[dict[str, float], list[int]]],
) -> None:
    """They are delivered by the attempt after the timeout."""
    counted, _ = driven["hangs"]
    outcome = simulated(SCENARIOS["hangs"])

    last = max(batch.done_s for batch in outcome.batches)

    assert counted["seconds"] == pytest.approx(last, abs=1.5)


@pytest.mark.parametrize(("batch", "texts"), [(20_000, 1), (400, 2)], ids=["collected", "in open requests"])
def test_an_event_takes_no_more_of_the_heap_than_said(tmp_path: Path, batch: int, texts: int) -> None:
    """The text and `OBJECT_BYTES`; the text once more while it is in a request that awaits its answer."""
    backend = Backend(20_000, batch, 60.0, False, 1.0, 1, 1.0)  # noqa: FBT003
    scenario = Scenario([LoadPeriod(1, 20_000)], backend, [ReceiverPeriod(0.0, latency_s=4.0)])

    counted, taken = drive(scenario, tmp_path / "driven")

    each = counted["held_heap_bytes"] / counted["offered"]
    assert sum(taken) == 20_000
    assert EVENT_BYTES * texts < each < EVENT_BYTES * texts + OBJECT_BYTES


REQUESTS: Mapping[str, Any] = {
    "secret": {"verb": "create", "resource": "secrets", "namespace": "x"},
    "system secret": {"verb": "update", "resource": "secrets", "namespace": "kube-system"},
    "token": {"verb": "create", "resource": "serviceaccounts", "subresource": "token", "namespace": "x"},
    "review": {"verb": "create", "group": "authentication.k8s.io", "resource": "tokenreviews"},
    "configmap": {"verb": "create", "resource": "configmaps", "namespace": "x"},
    "role": {"verb": "create", "group": "rbac.authorization.k8s.io", "resource": "clusterroles"},
    "exec": {"verb": "create", "resource": "pods", "subresource": "exec", "namespace": "x"},
    "custom": {"verb": "delete", "group": "example.com", "resource": "widgets", "namespace": "x"},
    "lease": {"verb": "update", "group": "coordination.k8s.io", "resource": "leases", "namespace": "kube-system"},
}


def levels(profile: str) -> dict[str, str]:
    """Return the level that the apiserver's own evaluator gives each of `REQUESTS`, by any user."""
    asked = json.dumps(
        [{"user": "mallory", "groups": ["system:authenticated"], **request} for request in REQUESTS.values()]
    )
    command = [str(PROGRAM), "levels", str(POLICIES / f"{profile}.yaml")]
    answer = subprocess.run(command, input=asked.encode(), capture_output=True, check=True)
    return dict(zip(REQUESTS, json.loads(answer.stdout), strict=True))


@pytest.mark.parametrize("profile", PROFILES)
def test_secrets_and_tokens_are_recorded_without_bodies(profile: str) -> None:
    """By every profile, and nothing that a user does is left out."""
    found = levels(profile)

    assert {found[name] for name in ("secret", "system secret", "token", "review", "configmap")} == {"Metadata"}
    assert "None" not in found.values()


def test_profiles_record_bodies_where_they_say() -> None:
    """A new cluster role is recorded whole where that is the profile's point."""
    assert {profile: levels(profile)["role"] for profile in PROFILES} == {
        "recommended": "RequestResponse",
        "minimal": "Metadata",
        "example": "Metadata",
        "gce": "RequestResponse",
    }


def test_the_static_pods_patch_adds_to_what_kubeadm_has() -> None:
    """By Kubernetes' own strategic merge: kubeadm's flags and mounts stay, ours come after them."""
    container = {
        "name": "kube-apiserver",
        "image": "registry.k8s.io/kube-apiserver:v1.37.2",
        "command": ["kube-apiserver", "--advertise-address=192.0.2.1"],
        "volumeMounts": [{"name": "k8s-certs", "mountPath": "/etc/kubernetes/pki", "readOnly": True}],
    }
    volumes = [{"name": "k8s-certs", "hostPath": {"path": "/etc/kubernetes/pki", "type": "DirectoryOrCreate"}}]
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "kube-apiserver", "namespace": "kube-system"},
        "spec": {"containers": [container], "volumes": volumes, "hostNetwork": True},
    }
    change = CliRunner().invoke(main, ["flags", "--rate", "20", "--platform", "local", "--format", "static-pod"]).stdout

    patched = patch(pod, change)

    [after] = patched["spec"]["containers"]
    assert (after["command"], after["image"]) == (container["command"], container["image"])
    assert "--audit-webhook-mode=batch" in after["args"]
    assert {mount["mountPath"] for mount in after["volumeMounts"]} == {"/etc/kubernetes/pki", "/etc/kubernetes/audit"}
    assert {volume["name"] for volume in patched["spec"]["volumes"]} == {"k8s-certs", "auditsplit"}
    assert patch(patched, change) == patched


def patch(pod: dict[str, Any], change: str) -> dict[str, Any]:
    """Return the pod as kubeadm patches it."""
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write(change)
        file.flush()
        command = [str(PROGRAM), "patch", file.name]
        answer = subprocess.run(command, input=json.dumps(pod).encode(), capture_output=True, check=True)
    document: dict[str, Any] = json.loads(answer.stdout)
    return document
