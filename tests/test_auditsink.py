"""AuditSinks: what a manifest may have, and how changed files take effect.

``tests/live/test_policy_auditsink.py`` compares both with kube-apiserver's own code.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import httpx2
import pytest
from click.testing import CliRunner
from lightkube import Client
from support import kubernetes, receiver
from support.eventlists import event, eventlist
from support.pki import Pki
from support.processes import wait_for
from support.receiver import Receiver, Reply
from support.requests import BODY
from support.server import Server

from auditsplit import bootstrap, sinks
from auditsplit.cli import main
from auditsplit.deadline import Deadline
from auditsplit.errors import SettingsError, SinkError
from auditsplit.ingest import Destination, Ingest
from auditsplit.settings import Settings
from auditsplit.sinks.auditsink import cluster, manifest
from auditsplit.sinks.auditsink import sink as auditsinks
from auditsplit.telemetry.figures import Figures

PAGE = Path(__file__).parents[1] / "docs" / "auditsink.md"
EXAMPLE = "\n" + PAGE.read_text().partition("```yaml\n")[2].partition("```")[0]
"""The one in Kubernetes' documentation."""


def text(name: str, url: str, *, level: str = "RequestResponse", required: str = "", ca: bytes = b"") -> str:
    """Return a manifest as JSON."""
    client = {"url": url, "caBundle": base64.b64encode(ca).decode()}
    document = {
        "apiVersion": manifest.API_VERSION,
        "kind": manifest.KIND,
        "metadata": {"name": name, "annotations": {manifest.REQUIRED: required}},
        "spec": {
            "policy": {"level": level, "stages": ["ResponseComplete"]},
            "webhook": {"clientConfig": client},
        },
    }
    return f"{json.dumps(document)}\n"


def targets(downstream: Receiver) -> list[str]:
    """Return the paths that were posted to."""
    return sorted(posted.target.partition("?")[0] for posted in downstream.posts)


# Manifests.


def test_the_documentations_example_is_accepted() -> None:
    """As it stands there."""
    [sink] = manifest.read(EXAMPLE.encode()).sinks

    assert (sink.name, sink.level, sink.stages) == ("mysink", "Metadata", ("ResponseComplete",))
    assert (sink.url, sink.ca_bundle, sink.qps, sink.burst) == ("https://audit.app", "", 10, 15)
    assert not sink.required


def test_a_service_has_a_url_and_defaults() -> None:
    """Its name in the cluster's DNS, and port 443. A throttle without numbers has Kubernetes' own."""
    document = EXAMPLE.replace("throttle:", "throttle: {}").replace("      qps: 10\n      burst: 15\n", "")
    document = document.replace('url: "https://audit.app"', "service: {namespace: ns, name: audit, path: /x}")

    [sink] = manifest.read(document.encode()).sinks

    assert (sink.url, sink.qps, sink.burst) == ("https://audit.ns.svc:443/x", 10, 15)


def test_without_a_throttle_nothing_is_throttled() -> None:
    """As in kube-apiserver, whose API added one by itself."""
    [sink] = manifest.read(text("a", "https://a").encode()).sinks

    assert sink.qps == 0


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("kind: AuditSink", "kind: Policy", "3:7: kind: must be AuditSink, not 'Policy'"),
        ("v1alpha1", "v1", "2:13: apiVersion: must be auditregistration.k8s.io/v1alpha1"),
        ("mysink", "My_Sink", "5:9: metadata.name: must be a DNS name such as siem or siem.example, not 'My_Sink'"),
        (
            "name: mysink",
            "name: a\n  namespace: b",
            "6:14: metadata.namespace: an AuditSink has no namespace. Remove it",
        ),
        ("Metadata", "metadata", "8:12: spec.policy.level: must be one of None, Metadata, Request, RequestResponse"),
        ("- ResponseComplete", "- Done", "10:7: spec.policy.stages[0]: must be one of RequestReceived"),
        ("    - ResponseComplete", "", "9:12: spec.policy.stages: not set"),
        ("qps: 10", "qps: 0", "13:12: spec.webhook.throttle.qps: must be a positive number, not 0"),
        ("qps: 10", "qps: ten", "13:12: spec.webhook.throttle.qps: must be an integer, not 'ten'"),
        ("burst: 15", "brust: 15", "14:7: spec.webhook.throttle.brust: there is no such field"),
        ('url: "https://audit.app"', "{}", "16:7: spec.webhook.clientConfig: write exactly one of url and service"),
        ("https://audit.app", "ftp://audit.app", "16:12: spec.webhook.clientConfig.url: must begin with https://"),
        ("https://audit.app", "https://a@b", "spec.webhook.clientConfig.url: must not have a user or a password"),
        ("https://audit.app", "https://[a", "spec.webhook.clientConfig.url: must be a URL such as https://"),
        (
            "url:",
            "caBundle: '%%'\n      url:",
            "16:17: spec.webhook.clientConfig.caBundle: must be certificates in PEM",
        ),
        ("spec:", "spec: [", "8:10: not valid YAML: did not find expected"),
    ],
)
def test_mistakes_have_their_place(tmp_path: Path, old: str, new: str, expected: str) -> None:
    """The function does not start."""
    file = tmp_path / "sinks.yaml"
    file.write_text(EXAMPLE.replace(old, new))

    with pytest.raises(SettingsError) as caught:
        Settings.read({"AUDIT_SINKS": f"auditsink:{file}"})

    shown = "\n".join(caught.value.mistakes)
    assert expected in shown
    assert str(file) in shown


def test_a_file_has_several_documents(tmp_path: Path) -> None:
    """The lines of a problem are those of the file. Empty documents and comments do not count."""
    good = text("a", "https://a")
    file = tmp_path / "sinks.yaml"
    file.write_text(f"# first\n---\n{good}---\n# none\n---\n{text('b', 'ftp://b')}")

    read = manifest.read(file.read_bytes())

    assert [problem.line for problem in read.problems] == [7]
    assert [sink.name for sink in manifest.read(f"{good}---\n{text('b', 'http://b')}".encode()).sinks] == ["a", "b"]
    assert manifest.read(b"# nothing\n").problems[0].message == "there is no AuditSink in this file"


@pytest.mark.parametrize(
    ("url", "mistake"),
    [
        ("auditsink:", "write auditsink:/path, the path of a file or folder of AuditSinks"),
        ("auditsink:/nowhere", "/nowhere: there is no such file or folder"),
    ],
)
def test_mistakes_in_the_url_are_named(url: str, mistake: str) -> None:
    """The function does not start."""
    with pytest.raises(SettingsError, match=mistake):
        Settings.read({"AUDIT_SINKS": url})


def test_a_name_is_there_once(tmp_path: Path) -> None:
    """The second file is the mistake."""
    for name in ("1.yaml", "2.json"):
        (tmp_path / name).write_text(text("same", "https://a"))

    with pytest.raises(SettingsError, match=r"2.json: metadata.name: .*1.yaml has the AuditSink same already"):
        Settings.read({"AUDIT_SINKS": f"auditsink:{tmp_path}"})


# Delivery.


def ingest(folder: Path) -> Ingest:
    """Return the use case with the AuditSinks of a folder."""
    return bootstrap.ingest(Settings.read({"AUDIT_SINKS": f"auditsink:{folder}", "AUDIT_DROP": "none"}), {})


def test_each_gets_the_batch_at_its_level(tmp_path: Path, downstream: Receiver) -> None:
    """One gets bodies, one gets none, and one gets nothing."""
    for level in ("RequestResponse", "Metadata", "None"):
        (tmp_path / f"{level}.yaml").write_text(text(level.lower(), f"{downstream.url}/{level}", level=level))

    receipt = ingest(tmp_path).receive(eventlist([event(requestObject={})]), "prod", Deadline.after(20), Figures())

    assert receipt.events == 1
    assert targets(downstream) == ["/Metadata", "/RequestResponse"]
    assert sorted("requestObject" in posted.events[0] for posted in downstream.posts) == [False, True]


def test_a_ca_bundle_is_trusted_alone(tmp_path: Path) -> None:
    """The machine's own authorities are not."""
    pki = Pki(tmp_path / "pki")
    folder = tmp_path / "sinks.d"
    folder.mkdir()
    with receiver.receiving(tls=pki.serving(pki.receiver)) as started:
        (folder / "a.yaml").write_text(text("a", started.url, ca=pki.ca.read_bytes()))

        receipt = ingest(folder).receive(BODY, "prod", Deadline.after(20), Figures())

    assert (len(started.posts), bool(receipt.undelivered)) == (1, False)


def test_one_that_is_down_fails_no_other(tmp_path: Path, downstream: Receiver) -> None:
    """It is counted by its name. One with the annotation fails the batch."""
    downstream.answering = lambda posted: Reply(400 if "bad" in posted.target else 200)
    (tmp_path / "a.yaml").write_text(text("good", f"{downstream.url}/good"))
    bad = tmp_path / "b.yaml"
    bad.write_text(text("bad", f"{downstream.url}/bad"))

    receipt = ingest(tmp_path).receive(BODY, "prod", Deadline.after(20), Figures())
    bad.write_text(text("bad", f"{downstream.url}/bad", required="true"))
    with pytest.raises(SinkError, match="400"):
        ingest(tmp_path).receive(BODY, "prod", Deadline.after(20), Figures())

    assert receipt.undelivered == {"auditsink:bad": 3}
    assert targets(downstream) == ["/bad", "/bad", "/good", "/good"]


def test_changed_files_take_effect(
    tmp_path: Path, downstream: Receiver, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Added, changed and removed. A malformed version, and an unreadable one, keep what was there before."""
    monkeypatch.setattr(auditsinks, "LOOK_S", 0.0)
    caplog.set_level("INFO")
    first, second = tmp_path / "a.yaml", tmp_path / "b.yml"
    first.write_text(text("a", f"{downstream.url}/a"))
    here = ingest(tmp_path)
    numbers = iter(range(100))

    def posted_to() -> list[str]:
        downstream.got.clear()
        here.receive(eventlist([event(auditID=str(next(numbers)))]), "prod", Deadline.after(20), Figures())
        return targets(downstream)

    assert posted_to() == ["/a"]
    second.write_text(text("b", f"{downstream.url}/b"))
    assert posted_to() == ["/a", "/b"]
    first.write_text(text("a", f"{downstream.url}/changed"))
    assert posted_to() == ["/b", "/changed"]
    first.write_text("kind: [")
    assert posted_to() == ["/b", "/changed"]
    assert posted_to() == ["/b", "/changed"]
    (tmp_path / "c.yaml").write_text(text("b", f"{downstream.url}/twice"))
    assert posted_to() == ["/b", "/changed"]
    (tmp_path / ".hidden.yaml").write_text("kind: [")
    second.unlink()
    assert posted_to() == ["/changed", "/twice"]
    (tmp_path / "c.yaml").replace(first)
    assert posted_to() == ["/twice"]

    assert caplog.text.count("stay as they were") == 1
    assert "metadata.name" in caplog.text
    for name, what in (("b", "added"), ("a", "changed"), ("a", "removed")):
        assert f"the AuditSink {name} was {what}" in caplog.text


def test_a_server_takes_changes_up_within_seconds(
    serve: Callable[..., Server], tmp_path: Path, downstream: Receiver
) -> None:
    """Without a restart, in each worker."""
    folder = tmp_path / "sinks.d"
    folder.mkdir()
    server = serve(AUDIT_SINKS=f"file:var/log auditsink:{folder}", WORKERS="2")
    numbers = iter(range(10_000))
    assert server.post(eventlist([event(auditID="none")])).json()["events"] == 1
    (folder / "a.yaml").write_text(text("a", f"{downstream.url}/a"))
    began = time.monotonic()

    def both_post() -> bool:
        before = len(downstream.posts)
        for _ in range(10):
            server.post(eventlist([event(auditID=str(next(numbers)))]))
        return len(downstream.posts) == before + 10

    wait_for("both workers post", both_post)
    assert time.monotonic() - began < 60


@pytest.mark.usefixtures("workspace")
def test_check_probes_each_downstream(downstream: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one that is not required."""
    downstream.answering = lambda posted: Reply(404 if "bad" in posted.target else 200)
    Path("sinks.yaml").write_text(f"{text('good', downstream.url)}---\n{text('bad', f'{downstream.url}/bad')}")
    monkeypatch.setenv("AUDIT_SINKS", f"auditsink:{Path('sinks.yaml').resolve()}")

    result = CliRunner().invoke(main, ["check"])

    assert result.exit_code == 1
    assert "auditsink:good: accepts events" in result.stdout
    assert "error: auditsink:bad: " in result.stderr


# Of a cluster.


class Objects:
    """A client of a cluster with these AuditSinks, which keeps what is patched."""

    def __init__(self, *documents: str) -> None:
        """Keep the objects."""
        self.objects = [json.loads(document) for document in documents]
        self.patched: list[tuple[str, dict[str, Any]]] = []
        self.error: Exception | None = None

    def list(self, _: object) -> list[dict[str, Any]]:
        """Return the objects, or raise the error."""
        if self.error:
            raise self.error
        return self.objects

    def patch(self, _: object, name: str, status: dict[str, Any], **__: object) -> None:
        """Keep the condition, also in the object, or raise the error."""
        if self.error:
            raise self.error
        [condition] = status["status"]["conditions"]
        self.patched.append((name, condition))
        next(each for each in self.objects if each["metadata"]["name"] == name)["status"] = status["status"]


def of_cluster(objects: Objects) -> Ingest:
    """Return the use case with the AuditSinks of a cluster."""
    source = cluster.Cluster(cast("Client", objects))
    return Ingest([Destination(auditsinks.AuditSinks("auditsink+kubernetes:", source, auditsinks.Options()))])


def test_objects_have_a_status(downstream: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether the last batch was delivered. It is written when it changes."""
    monkeypatch.setattr(auditsinks, "LOOK_S", 0.0)
    downstream.answering = lambda posted: Reply(400 if "bad" in posted.target else 200)
    objects = Objects(
        text("good", f"{downstream.url}/good"), text("bad", f"{downstream.url}/bad"), text("x", "ftp://x")
    )
    here = of_cluster(objects)

    for number in range(3):
        here.receive(eventlist([event(auditID=str(number))]), "prod", Deadline.after(20), Figures())

    reported = {name: (condition["status"], condition["reason"]) for name, condition in objects.patched}
    assert reported == {"good": ("True", "Delivered"), "bad": ("False", "NotDelivered"), "x": ("False", "Invalid")}
    assert len(objects.patched) == 3
    messages = {name: condition["message"] for name, condition in objects.patched}
    assert "400" in messages["bad"]
    assert messages["x"].startswith("spec.webhook.clientConfig.url: must begin with https://")


def test_a_malformed_object_keeps_its_last_version(
    downstream: Receiver, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """So do all objects while the cluster cannot be asked, or its status cannot be written."""
    monkeypatch.setattr(auditsinks, "LOOK_S", 0.0)
    objects = Objects(text("a", downstream.url))
    here = of_cluster(objects)
    numbers = iter(range(10))

    def receive() -> None:
        here.receive(eventlist([event(auditID=str(next(numbers)))]), "prod", Deadline.after(20), Figures())

    receive()
    objects.objects[0]["spec"]["policy"]["level"] = "All"
    receive()
    objects.error = httpx2.ConnectError("away")
    receive()
    objects.error = None
    monkeypatch.setattr(objects, "patch", lambda *_, **__: (_ for _ in ()).throw(OSError("away")))
    objects.objects[0]["spec"]["policy"]["level"] = "Metadata"
    receive()
    objects.objects.clear()
    receive()

    assert len(downstream.posts) == 4
    assert "the AuditSinks cannot be listed: away. They stay as they were" in caplog.text
    assert "the status of the AuditSink a cannot be written: away" in caplog.text


@pytest.mark.parametrize(
    ("url", "mistake"),
    [
        ("auditsink+kubernetes:/x", "write auditsink\\+kubernetes: without a place"),
        ("auditsink+kubernetes:", "no access to a cluster: .* Run in a pod with a service account, or set KUBECONFIG"),
    ],
)
def test_access_to_a_cluster_is_required(
    url: str, mistake: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The function does not start without it."""
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "absent"))
    monkeypatch.setenv("HOME", str(tmp_path))

    with pytest.raises(SettingsError, match=mistake):
        Settings.read({"AUDIT_SINKS": url})


def test_a_kubeconfig_gives_access(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The cluster is not asked before the first batch."""
    file = tmp_path / "kubeconfig"
    file.write_text(kubernetes.kubeconfig(1, Pki(tmp_path / "pki").ca))
    monkeypatch.setenv("KUBECONFIG", str(file))

    sink = sinks.from_url("auditsink+kubernetes:")

    assert sink.name == "auditsink+kubernetes:"
