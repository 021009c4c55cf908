"""AuditSinks of a cluster: applied, changed and deleted with kubectl while its apiserver sends traffic.

The function stores every event, and so does a second function that an AuditSink names, whatever the other downstreams
do: one is away, one is slow, and others redirect, throttle, fail or accept small batches only.
"""

from __future__ import annotations

import base64
import itertools
import json
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from support import commands, kubernetes, receiver, traffic
from support.function import Function, held
from support.kubernetes import Apiserver
from support.pki import Pki
from support.processes import BIN, free_port, wait_for
from support.receiver import Posted, Receiver, Reply
from support.way import Way

ROOT = Path(__file__).parents[2]
CRD = ROOT / "infra" / "kubernetes" / "auditsinks.yaml"
PAGE = ROOT / "docs" / "auditsink.md"
READER = "bob"
SMALL_BYTES = 20_000
FIRST = 50
"""The first request that the second function surely gets: the AuditSink is in use by then."""
STAGES = ["RequestReceived", "ResponseStarted", "ResponseComplete", "Panic"]


class Cluster:
    """An apiserver with the CRD, and kubectl for its administrator."""

    def __init__(self, apiserver: Apiserver, folder: Path, pki: Pki) -> None:
        """Write the kubeconfigs: the administrator's, and that of a user with the function's role alone."""
        self.apiserver, self._admin, self.reader = apiserver, folder / "admin.yaml", folder / "reader.yaml"
        text = kubernetes.kubeconfig(apiserver.port, pki.ca)
        self._admin.write_text(text)
        self.reader.write_text(text.replace(kubernetes.token("admin"), kubernetes.token(READER)))

    def install(self) -> None:
        """Apply the CRD with its roles, and give the function's role to its user."""
        self.kubectl("create", "namespace", "auditsplit")
        self.kubectl("apply", "-f", CRD)
        self.kubectl("wait", "--for=condition=Established", "crd/auditsinks.auditregistration.k8s.io", "--timeout=60s")
        role = "--clusterrole=auditsplit-auditsinks"
        self.kubectl("create", "clusterrolebinding", "reader", role, f"--user={READER}")

    def kubectl(self, *arguments: str | Path, given: str = "", expected: int = 0) -> str:
        """Return what kubectl printed."""
        command = [BIN / "kubectl", "--kubeconfig", self._admin, *arguments]
        ran = subprocess.run(command, input=given, capture_output=True, text=True, check=False)
        assert ran.returncode == expected, ran.stderr
        return ran.stdout + ran.stderr

    def apply(
        self, name: str, url: str, *, level: str = "RequestResponse", required: bool = False, ca: bytes = b""
    ) -> None:
        """Apply an AuditSink."""
        self.kubectl("apply", "-f", "-", given=json.dumps(manifest(name, url, level, required=required, ca=ca)))

    def conditions(self) -> dict[str, str]:
        """Return the reason of each AuditSink's condition."""
        found = json.loads(self.kubectl("get", "auditsinks", "-o", "json"))["items"]
        return {
            each["metadata"]["name"]: each["status"]["conditions"][0]["reason"] for each in found if "status" in each
        }


def manifest(name: str, url: str, level: str, *, required: bool, ca: bytes) -> dict[str, Any]:
    """Return an AuditSink."""
    client = {"url": url, **({"caBundle": base64.b64encode(ca).decode()} if ca else {})}
    return {
        "apiVersion": "auditregistration.k8s.io/v1alpha1",
        "kind": "AuditSink",
        "metadata": {"name": name, "annotations": {"auditsplit/required": str(required).lower()}},
        "spec": {"policy": {"level": level, "stages": STAGES}, "webhook": {"clientConfig": client}},
    }


@pytest.fixture
def cluster(
    apiserver: Callable[[], Apiserver], function: Callable[..., Function], pki: Pki, tmp_path: Path
) -> tuple[Cluster, Function]:
    """Return a cluster with the CRD whose apiserver sends to a function that follows its AuditSinks."""
    made = Cluster(apiserver(), tmp_path, pki)
    follower = function(KUBECONFIG=str(made.reader))
    follower.sinks = f"{follower.sinks} auditsink+kubernetes:?timeout=5"
    webhook = tmp_path / "webhook.yaml"
    follower.start(commands.kubeconfig(webhook, "prod", follower.url, pki.ca))
    made.apiserver.start(webhook)
    made.install()
    return made, follower


def test_every_event_is_there_once_whatever_other_downstreams_do(
    cluster: tuple[Cluster, Function], function: Callable[..., Function], pki: Pki
) -> None:
    """In the function's files, and in those of the second function."""
    here, follower = cluster
    second = function()
    second.start("")
    here.apply("second", f"{second.url}/clusters/prod", required=True, ca=pki.ca.read_bytes())

    with ExitStack() as stack:
        urls = {name: stack.enter_context(receiver.receiving(answering)).url for name, answering in DOWNSTREAMS.items()}
        small = stack.enter_context(receiver.receiving(small_alone))
        traffic.burst(here.apiserver, range(FIRST))
        wait_for("the second function is delivered to", lambda: here.conditions().get("second") == "Delivered")
        traffic.permit(here.apiserver)
        with traffic.meanwhile(sending(here.apiserver)):
            for name, url in {**urls, "away": f"http://127.0.0.1:{free_port()}", "small": small.url}.items():
                here.apply(name, url)
            wait_for("all are tried", lambda: here.conditions().keys() == {"second", "away", "small", *urls})
            assert {here.conditions()[name] for name in (*urls, "away")} == {"NotDelivered"}
            here.apply("small", small.url, level="Metadata")
            for name in urls:
                here.kubectl("delete", "auditsink", name)
            wait_for("a lowered batch", lambda: lowered(small))
        here.apiserver.stop()

    logged, forwarded = Way(here.apiserver, follower).logged(), held(second)
    assert held(follower) == logged
    assert set(forwarded.values()) == {1}
    assert not forwarded - logged
    assert not [line for _, line in logged - forwarded if b"/none-" in line and number(line) >= FIRST]
    assert here.apiserver.lost() == {}


def number(line: bytes) -> int:
    """Return the number of a request of `send`."""
    return int(json.loads(line)["objectRef"]["name"].removeprefix("none-"))


def sending(apiserver: Apiserver) -> Callable[[], None]:
    """Return what makes ten requests, with new numbers each time."""
    numbers = itertools.count(FIRST)

    def send() -> None:
        traffic.burst(apiserver, itertools.islice(numbers, 10))
        time.sleep(0.1)

    return send


def slow(_: Posted) -> Reply:
    """Answer after the sink's timeout."""
    time.sleep(8)
    return Reply()


DOWNSTREAMS: dict[str, Callable[[Posted], Reply | None]] = {
    "slow": slow,
    "redirecting": lambda _: Reply(301, {"Location": "https://127.0.0.1:1/"}),
    "throttling": lambda _: Reply(429, {"Retry-After": "60"}),
    "failing": lambda _: Reply(500),
}


def small_alone(posted: Posted) -> Reply:
    """Accept small bodies."""
    return Reply(413 if len(posted.body) > SMALL_BYTES else 200)


def lowered(small: Receiver) -> bool:
    """Return whether the last batch has no event above Metadata."""
    events = small.posts[-1].events if small.posts else []
    return bool(events) and {each["level"] for each in events} == {"Metadata"}


def test_the_crd_accepts_the_documentations_example(cluster: tuple[Cluster, Function]) -> None:
    """Unchanged. What the API of 1.18 refused is refused, and only an administrator may write."""
    here, _ = cluster
    example = PAGE.read_text().partition("```yaml\n")[2].partition("```")[0]

    assert "created" in here.kubectl("apply", "-f", "-", given=example)
    for document, reason in refused():
        assert reason in here.kubectl("apply", "-f", "-", given=json.dumps(document), expected=1)
    for verb in ("create", "patch", "delete", "get", "watch"):
        assert "no" in here.kubectl("auth", "can-i", verb, "auditsinks", "--as", READER, expected=1)
    assert "yes" in here.kubectl("auth", "can-i", "list", "auditsinks", "--as", READER)


def refused() -> Iterator[tuple[dict[str, Any], str]]:
    """Yield AuditSinks that the API refuses, and a part of the reason."""
    good = manifest("x", "https://a", "Metadata", required=False, ca=b"")
    policy, client = good["spec"]["policy"], good["spec"]["webhook"]["clientConfig"]

    def changed(**spec: Any) -> dict[str, Any]:
        return {**good, "spec": {**good["spec"], **spec}}

    yield changed(policy={**policy, "level": "All"}), "Unsupported value"
    yield changed(policy={"level": "Metadata"}), "stages is required"
    yield changed(policy={**policy, "stages": ["Done"]}), "Unsupported value"
    yield changed(webhook={"clientConfig": {}}), "exactly one of url or service is required"
    yield changed(webhook={"clientConfig": {**client, "url": "ftp://a"}}), "spec.webhook.clientConfig.url"
    yield changed(webhook={"clientConfig": client, "throttle": {"qps": 0}}), "spec.webhook.throttle.qps"
