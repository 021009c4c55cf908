"""infra/, the Dockerfile and docs/deploy/index.md against the function, without Terraform."""

from __future__ import annotations

import fnmatch
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from support.eventlists import event, eventlist
from support.server import Server

from auditsplit import errors
from auditsplit.apiserver.flags import faults, given
from auditsplit.apiserver.flags.platforms import DEFAULT_MAX_BODY_BYTES, PLATFORMS
from auditsplit.cli import main
from auditsplit.errors import SenderError
from auditsplit.settings import Settings
from auditsplit.telemetry import logs

ROOT = Path(__file__).parents[1]
MODULES = ROOT / "infra" / "modules"
DOC = (ROOT / "docs" / "deploy" / "index.md").read_text()
MANIFEST = list(yaml.safe_load_all((ROOT / "infra" / "kubernetes" / "auditsplit.yaml").read_text()))


def blocks(module: str, file: str, kind: str) -> dict[str, dict[str, str]]:
    """Return the blocks of a Terraform file by name, each with the text of its arguments on one line."""
    text = (MODULES / module / file).read_text()
    found = re.findall(rf'^{kind} "(\w+)" {{\n(.*?)^}}$', text, re.MULTILINE | re.DOTALL)
    argument = re.compile(r"^  (\w+) += (.*?)(?=^  \w|^\n|\Z)", re.MULTILINE | re.DOTALL)
    return {name: {key: " ".join(value.split()) for key, value in argument.findall(body)} for name, body in found}


def text_of(argument: str) -> str:
    """Return the string that a quoted argument writes."""
    text: str = json.loads(argument)
    return text


def table(module: str, heading: str) -> list[list[str]]:
    """Return the rows of the table below a heading of the module's README, cell by cell."""
    section = (MODULES / module / "README.md").read_text().partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return [re.split(r" \| ", row) for row in re.findall(r"^\| (`\w+` .*) \|$", section, re.MULTILINE)]


@pytest.mark.parametrize("module", ["aws", "gcp"])
def test_the_readmes_inputs_are_the_variables(module: str) -> None:
    """In their order, with their words, types and defaults."""
    expected = [
        [
            f"`{name}`",
            text_of(variable["description"]),
            f"`{variable['type']}`",
            f"`{variable['default']}`" if "default" in variable else "n/a",
            "no" if "default" in variable else "yes",
        ]
        for name, variable in blocks(module, "variables.tf", "variable").items()
    ]

    assert table(module, "Inputs") == expected


@pytest.mark.parametrize("module", ["aws", "gcp"])
def test_the_readmes_outputs_are_the_outputs(module: str) -> None:
    """In their order, with their words."""
    outputs = blocks(module, "outputs.tf", "output")

    assert table(module, "Outputs") == [[f"`{name}`", text_of(of["description"])] for name, of in outputs.items()]


@pytest.mark.parametrize("module", ["aws", "gcp"])
def test_every_variable_that_can_be_wrong_is_validated_with_a_message(module: str) -> None:
    """Except for truth values and free maps. The message begins with the variable's name."""
    text = (MODULES / module / "variables.tf").read_text()
    found = dict(re.findall(r'^variable "(\w+)" {\n(.*?)^}$', text, re.MULTILINE | re.DOTALL))

    bare = {name for name, body in found.items() if "validation {" not in body}

    assert bare <= {"create_bucket", "force_destroy", "tags", "labels"}
    for name, body in found.items():
        messages = re.findall(r'error_message = "(\w+): ', body)
        assert messages == [name] * body.count("validation {")


def aws_patterns() -> dict[str, list[tuple[str, str]]]:
    """Return CloudWatch's patterns by metric: pairs of a field and a text with * for anything, any of which counts."""
    text = (MODULES / "aws" / "alarms.tf").read_text()
    found = re.findall(r'^    (\w+) += "({ .* })"$', text, re.MULTILINE)
    return {name: re.findall(r'\$\.(\w+) = "([^"]*)"', pattern.replace('\\"', '"')) for name, pattern in found}


def metrics_of(line: dict[str, Any]) -> set[str]:
    """Return the metrics that a line of the log counts for."""
    return {
        name
        for name, pairs in aws_patterns().items()
        if any(fnmatch.fnmatchcase(str(line.get(field)), text) for field, text in pairs)
    }


def gcp_alerts(line: dict[str, Any]) -> set[str]:
    """Return the alerts that a request counts for, by the filters' own conditions."""
    text = (MODULES / "gcp" / "alerts.tf").read_text().replace('\\"', '"')
    [codes] = re.findall(r"jsonPayload.code=\(([^)]+)\)", text)
    [(counted, without)] = re.findall(
        r'response_code_class = "(4xx)"((?: AND metric.labels.response_code != "\d+")+)', text
    )
    assert "severity>=ERROR" in text
    failures = {"failures"} if line["severity"] in ("ERROR", "CRITICAL") else set()
    rejected = {"rejected"} if f'"{line["code"]}"' in codes.split(" OR ") else set()
    status = str(line["status"])
    refused = {"refused"} if f"{status[0]}xx" == counted and f'"{status}"' not in without else set()
    return failures | rejected | refused


def gcp_ends_silence(line: dict[str, Any]) -> bool:
    """Return whether a request ends the silence, by the filter's class of answers."""
    text = (MODULES / "gcp" / "alerts.tf").read_text().replace('\\"', '"')
    counted: list[str] = re.findall(r'response_code_class = "(2xx)"', text)
    return [f"{str(line['status'])[0]}xx"] == counted


def lines_of(server: Server) -> list[dict[str, Any]]:
    """Return what the function logged after its start."""
    lines = [json.loads(line) for line in server.log.read_text().splitlines() if line.startswith("{")]
    return [line for line in lines if line["logger"] == "auditsplit.serve.receiver"]


def test_rejected_and_too_large_bodies_set_off_an_alarm(serve: Callable[..., Server]) -> None:
    """A malformed body, a malformed item and a body that is too large each have a line that counts."""
    server = serve(AUDIT_SINKS="memory:", AUDIT_MAX_BODY_BYTES="2000")

    statuses = [
        server.post(b"no JSON").status,
        server.post(eventlist([event("alice"), b"1"])).status,
        server.post(eventlist([event("alice")] * 10)).status,
    ]

    assert statuses == [400, 200, 413]
    lines = lines_of(server)
    assert [metrics_of(line) - {"Accepted"} for line in lines] == [{"Rejected"}] * 3
    assert [gcp_alerts(line) - {"refused"} for line in lines] == [{"rejected"}] * 3
    assert [gcp_ends_silence(line) for line in lines] == ["Accepted" in metrics_of(line) for line in lines]


def test_a_failing_sink_sets_off_an_alarm(serve: Callable[..., Server], tmp_path: Path) -> None:
    """By the line of the batch that it did not store."""
    (tmp_path / "file").touch()
    server = serve(AUDIT_SINKS="file:file/log")
    before = len(lines_of(server))

    status = server.post(eventlist([event("alice")])).status

    told = lines_of(server)[before:]
    assert (status, [metrics_of(line) for line in told]) == (503, [{"Failures"}])
    assert [gcp_alerts(line) for line in told] == [{"failures"}]


def test_refused_senders_set_off_an_alarm_and_end_no_silence(serve: Callable[..., Server]) -> None:
    """An alarm needs 15 minutes of them, so a stranger sets off none. A method other than POST never counts."""
    server = serve(AUDIT_SINKS="memory:", AUDIT_TOKENS=f"prod=sha256:{'0' * 64}")
    known = serve(AUDIT_SINKS="memory:")
    body = eventlist([event("alice")])

    statuses = [
        server.post(body).status,
        server.request("GET", "/wp-login.php").status,
        server.request("GET", "/").status,
        known.post(body, Content_Type="text/plain").status,
        known.post(body, X_Forwarded_For="192.0.2.1").status,
    ]

    lines = lines_of(known)  # the servers share a log
    assert statuses == [401, 404, 405, 415, 403]
    assert [metrics_of(line) for line in lines] == [{"Refused"}, {"Refused"}, set(), {"Refused"}, {"Refused"}]
    assert [gcp_alerts(line) for line in lines] == [{"refused"}, {"refused"}, set(), {"refused"}, {"refused"}]
    assert not any(gcp_ends_silence(line) for line in lines)


def test_an_accepted_batch_ends_the_silence(serve: Callable[..., Server]) -> None:
    """On both clouds, and it sets off no alarm."""
    server = serve(AUDIT_SINKS="memory:")

    server.post(eventlist([event("alice")]))

    [line] = lines_of(server)
    assert (metrics_of(line), gcp_alerts(line), gcp_ends_silence(line)) == ({"Accepted"}, set(), True)


def test_every_refusal_has_an_alarm() -> None:
    """By the codes of all errors of senders. What no apiserver sends has none: another method, or no HTTP."""
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, SenderError)]

    codes = {kind.code for kind in kinds if kind.status < 500} - {SenderError.code, "unreadable", "method-not-allowed"}

    assert {"unauthenticated", "broken-off", "unsupported-body"} < codes
    assert {code for code in codes if not metrics_of({"code": code}) & {"Refused", "Rejected"}} == set()


API = {
    "google_service_account": "iam",
    "google_project_iam": "iam",
    "google_storage": "storage",
    "google_secret_manager": "secretmanager",
    "google_cloudfunctions2": "cloudfunctions",
    "google_cloud_run": "run",
    "google_cloud_scheduler": "cloudscheduler",
    "google_monitoring": "monitoring",
    "google_logging": "logging",
}


def test_the_readme_lists_the_apis_of_all_resources() -> None:
    """By the beginnings of the resources' types."""
    kinds = re.findall(
        r'^resource "(\w+)"', "".join(path.read_text() for path in (MODULES / "gcp").glob("*.tf")), re.MULTILINE
    )
    readme = (MODULES / "gcp" / "README.md").read_text()

    needed = {next(api for beginning, api in API.items() if kind.startswith(beginning)) for kind in kinds}

    assert needed == set(API.values())
    assert needed <= set(re.findall(r"(\w+)\.googleapis\.com", readme))


def test_metrics_on_google_are_the_figures_of_a_line(serve: Callable[..., Server]) -> None:
    """The line of a batch has each extracted field. Each figure is a number over 0, as the filter requires."""
    text = (MODULES / "gcp" / "metrics.tf").read_text()
    figures = re.findall(r"^    (\w+) += { unit = ", text, re.MULTILINE)
    labels = set(re.findall(r'"EXTRACT\(jsonPayload\.(\w+)\)"', text))
    rules = [{"level": "None", "users": ["bob"]}, {"level": "RequestResponse"}]
    policy = {"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": rules}
    server = serve(AUDIT_SINKS="memory:", AUDIT_POLICY=json.dumps(policy), AUDIT_TRUNCATE_MAX_EVENT_SIZE="2048")
    truncated = {"annotations": {"audit.k8s.io/truncated": "true"}, "stageTimestamp": "2026-01-31T23:59:59.123456Z"}
    body = eventlist([event("alice", **truncated), event("bob"), event("carol", requestURI="/" + "x" * 2048), b"1"])

    statuses = [server.post(body).status for _ in range(2)]

    first, second = lines_of(server)
    line = {**first, "duplicates": second["duplicates"]}
    assert statuses == [200, 200]
    assert set(figures) == set(logs._UNITS)
    assert all(line[name] > 0 for name in figures)
    assert labels == {"cluster", "code", "status"} <= line.keys()
    assert set(re.findall(r"jsonPayload\.(\w+):\*", text)) == {"code"}


def daemon_set() -> dict[str, Any]:
    """Return the manifest's pod."""
    (found,) = [document for document in MANIFEST if document["kind"] == "DaemonSet"]
    pod: dict[str, Any] = found["spec"]["template"]["spec"]
    return pod


def test_the_settings_in_the_manifest_are_valid() -> None:
    """The function accepts senders on that machine without a token."""
    (settings,) = [document["data"] for document in MANIFEST if document["kind"] == "ConfigMap"]

    read = Settings.read(settings)

    assert [target.url for target in read.sinks] == ["s3://my-bucket/audit"]
    assert read.tokens == ()


def test_the_manifest_serves_its_own_machine_only(serve: Callable[..., Server]) -> None:
    """By the environment that functions-framework reads. The probes use its address and paths that it answers."""
    (container,) = daemon_set()["containers"]
    environ = {entry["name"]: entry["value"] for entry in container["env"]}
    probes = [container[f"{name}Probe"]["httpGet"] for name in ("startup", "liveness", "readiness")]
    server = serve(AUDIT_SINKS="memory:")

    answers = [server.request("GET", probe["path"]).status for probe in probes]

    assert environ["HOST"] == container["ports"][0]["hostIP"] == "127.0.0.1"
    assert int(environ["PORT"]) == container["ports"][0]["containerPort"]
    assert {probe["host"] for probe in probes} == {"127.0.0.1"}
    assert answers == [200, 200, 200]
    assert f"--server http://127.0.0.1:{environ['PORT']} --no-credentials" in DOC


def test_the_container_runs_the_command_of_the_unit() -> None:
    """`auditsplit serve`, as user 65532, which the manifest names too."""
    dockerfile = (ROOT / "Dockerfile").read_text()
    (command,) = re.findall(r"^ENTRYPOINT (\[.*\])$", dockerfile, re.MULTILINE)
    (started,) = re.findall(
        r"^ExecStart=/opt/auditsplit/bin/(.*)$",
        (ROOT / "infra" / "systemd" / "auditsplit.service").read_text(),
        re.MULTILINE,
    )
    user = daemon_set()["securityContext"]["runAsUser"]

    assert json.loads(command) == started.split()
    assert re.findall(r"^USER (.*)$", dockerfile, re.MULTILINE) == [f"{user}:{user}"]


@pytest.mark.parametrize(("module", "platform"), [("aws", "lambda"), ("gcp", "cloud-run")])
def test_the_modules_command_prints_flags_for_its_platform(module: str, platform: str) -> None:
    """So the size of a batch has one source. What the command prints has no fault for the platform."""
    text = (MODULES / module / "outputs.tf").read_text()
    [command] = re.findall(r'"auditsplit (flags [^"]*)"', text)

    printed = CliRunner().invoke(main, command.split())
    read = given.read(printed.stdout)

    assert f"--platform {platform} " in command
    assert faults.check(faults.Subject(read, None, PLATFORMS[platform], DEFAULT_MAX_BODY_BYTES)) == []
