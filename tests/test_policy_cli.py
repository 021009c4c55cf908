"""``auditsplit policy``: check, explain, try and init, as a shell sees them."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from support.eventlists import event, eventlist

from auditsplit.cli import main
from auditsplit.decode import batch as batches
from auditsplit.event import PolicyHead
from auditsplit.policy import noise, noise_text
from auditsplit.policy.explanation import Explained, explained, request_of
from auditsplit.policy.load import load
from auditsplit.policy.profiles import profile
from auditsplit.policy.rules import Request

DATA = Path(__file__).parent / "data"
LOG = str(DATA / "audit.log")
HEAD = "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n"


def run(*arguments: str | Path, stdin: str | None = None) -> Result:
    """Run ``auditsplit policy`` with these arguments."""
    return CliRunner().invoke(main, ["policy", *map(str, arguments)], input=stdin)


def write_recommended(tmp_path: Path) -> Path:
    """Return a file with the recommended profile."""
    path = tmp_path / "policy.yaml"
    path.write_text(profile("recommended"))
    return path


def test_check_reports_nothing_about_the_recommended_profile(tmp_path: Path) -> None:
    """With exit code 0, also by CIS."""
    recommended = write_recommended(tmp_path)
    done = run("check", recommended, "--profile", "cis")

    assert (done.exit_code, done.stdout) == (0, f"{recommended}: nothing to report\n")


@pytest.mark.parametrize(
    ("text", "code", "line"),
    [
        (HEAD + "- level: All\n", 2, "error: -:4:10: rules[0].level: must be"),
        (HEAD + "- {level: Metadata, levle: x}\n", 1, "warning: -:4:21: rules[0].levle: "),
        (HEAD + "- level: Request\n", 1, "finding: -:4:10: rules[0].level: records secrets at Request"),
        ("kind: [", 2, "error: -:"),
        ("", 2, "error: -:"),
    ],
)
def test_check_names_what_is_wrong_with_line_and_column(text: str, code: int, line: str) -> None:
    """2 for what kube-apiserver refuses, 1 for a warning or a finding."""
    done = run("check", "-", stdin=text)

    assert done.exit_code == code
    assert line in done.stdout


def test_check_gives_all_of_it_as_json(tmp_path: Path) -> None:
    """For each file."""
    recommended = write_recommended(tmp_path)
    (tmp_path / "bad.yaml").write_text(HEAD + "- level: All\n")

    done = run("check", recommended, tmp_path / "bad.yaml", "--output", "json")

    good, bad = json.loads(done.stdout)["files"]
    assert done.exit_code == 2
    assert good == {"file": str(recommended), "problems": []}
    assert bad["problems"][0] | {"message": ""} == {
        "severity": "refused",
        "path": "rules[0].level",
        "line": 4,
        "column": 10,
        "message": "",
    }


def test_explain_gives_each_event_a_line(tmp_path: Path) -> None:
    """In the order of the recording, with what the policy decides."""
    recommended = write_recommended(tmp_path)
    done = run("explain", recommended, LOG, "--output", "json")

    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.exit_code == 0
    assert [line["index"] for line in lines] == list(range(407))
    assert set(lines[0]) == {"index", "rule", "level", "omitStages", "omitManagedFields", "recorded"}
    assert {line["recorded"] for line in lines} == {True, False}


def test_explain_shows_a_row_for_each_rule(tmp_path: Path) -> None:
    """The rows add up to the recording."""
    recommended = write_recommended(tmp_path)
    done = run("explain", recommended, LOG)

    rows = done.stdout.splitlines()[1:]
    numbers = [row[row.index("line") :].split() for row in rows]
    assert sum(int(cells[3].replace(",", "")) for cells in numbers) == 407
    assert sum(int(cells[4].replace(",", "")) for cells in numbers) == (DATA / "audit.log").stat().st_size
    assert "rules without an event" in done.stderr


@pytest.mark.parametrize(
    ("request_text", "rule", "level"),
    [
        ("verb=create user=alice resource=pods/exec namespace=x name=y", 5, "Request"),
        ("verb=get user=alice groups=dev,qa resource=secrets namespace=x", 4, "Metadata"),
        ("verb=delete user=alice resource=rbac.authorization.k8s.io/roles namespace=x name=y", 7, "RequestResponse"),
        ("verb=get path=/healthz/etcd", 0, "None"),
    ],
)
def test_explain_answers_about_a_request(tmp_path: Path, request_text: str, rule: int, level: str) -> None:
    """Which nobody has made yet."""
    recommended = write_recommended(tmp_path)
    as_json = run("explain", recommended, "--request", request_text, "--output", "json")
    as_text = run("explain", recommended, "--request", request_text)

    found = json.loads(as_json.stdout)
    assert (found["rule"], found["level"]) == (rule, level)
    assert f"rule: rules[{rule}], line " in as_text.stdout
    assert f"level: {level}\n" in as_text.stdout


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("resource=pods", Request(verb="get", is_resource=True, resource="pods")),
        ("resource=pods/exec", Request(verb="get", is_resource=True, resource="pods", subresource="exec")),
        ("resource=apps/deployments", Request(verb="get", is_resource=True, api_group="apps", resource="deployments")),
        (
            "resource=apps/deployments/scale user=a groups=b,c",
            Request(
                user="a",
                groups=("b", "c"),
                verb="get",
                is_resource=True,
                api_group="apps",
                resource="deployments",
                subresource="scale",
            ),
        ),
        (
            "resource=x.example.com/things",
            Request(verb="get", is_resource=True, api_group="x.example.com", resource="things"),
        ),
    ],
)
def test_a_requests_resource_may_have_group_and_subresource(text: str, expected: Request) -> None:
    """The first of two parts is a group if it has a dot, or if Kubernetes has a group of that name."""
    assert request_of(text) == expected


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--request", "verb=get"), "write either resource=… or path=…"),
        (("--request", "verb=get verb=get path=/"), "each once"),
        (("--request", "colour=red path=/"), "'colour=red' is not valid"),
        ((), "write either EVENTS or --request"),
        ((LOG, "--request", "path=/"), "write either EVENTS or --request"),
        (("none.log",), "does not exist"),
    ],
)
def test_explain_refuses_what_it_does_not_understand(tmp_path: Path, arguments: tuple[str, ...], words: str) -> None:
    """With 2, and what to write."""
    recommended = write_recommended(tmp_path)
    done = run("explain", recommended, *arguments)

    assert done.exit_code == 2
    assert words in done.stderr


def test_recordings_may_be_lists_folders_compressed_and_standard_input(tmp_path: Path) -> None:
    """What is not an event is counted."""
    recommended = write_recommended(tmp_path)
    folder = tmp_path / "recording"
    folder.mkdir()
    shutil.copy(DATA / "eventlist-003.json", folder)
    (folder / "audit.log.gz").write_bytes(gzip.compress(b"no event\n" + (DATA / "audit.log").read_bytes()))

    done = run("try", recommended, folder, "--output", "json")

    figures = json.loads(done.stdout)
    assert figures["recorded"]["events"] == 407 + 35
    assert figures["malformed"] == 1
    assert "1 items or lines are not events" in done.stderr
    assert run("try", recommended, "-", stdin=(DATA / "audit.log").read_text()).exit_code == 0


def test_try_counts_what_the_policy_would_have_kept(tmp_path: Path) -> None:
    """By rule, user and resource. What the recording lacks is said."""
    (tmp_path / "policy.yaml").write_text(HEAD + "- {level: None, users: [bob]}\n- level: RequestResponse\n")
    reference = {"resource": "pods", "namespace": "x", "name": "y"}
    events = [
        event(
            user,
            level=level,
            verb="get",
            objectRef=reference,
            requestURI="/api/v1/namespaces/x/pods/y",
            stageTimestamp=time,
        )
        for user, level, time in [
            ("alice", "RequestResponse", "2026-11-23T10:00:00Z"),
            ("alice", "Metadata", "2026-11-23T10:00:00Z"),
            ("bob", "RequestResponse", "2026-11-23T10:00:10Z"),
        ]
    ]
    (tmp_path / "list.json").write_bytes(eventlist(events))

    done = run("try", tmp_path / "policy.yaml", tmp_path / "list.json", "--output", "json")

    figures: dict[str, Any] = json.loads(done.stdout)
    assert figures["seconds"] == 10
    assert (figures["recorded"]["events"], figures["policy"]["events"]) == (3, 2)
    assert (figures["rate"], figures["peak"], figures["understated"]) == (0.2, 2, 1)
    assert figures["eventBytes"] == round(figures["policy"]["bytes"] / 2)
    assert [(row["rule"], row["events"], row["keptEvents"]) for row in figures["byRule"]] == [(1, 2, 2), (0, 1, 0)]
    assert {row["user"]: row["keptEvents"] for row in figures["byUser"]} == {"alice": 2, "bob": 0}
    assert figures["byResource"][0]["resource"] == "pods"
    assert "1 events were recorded at a lower level" in done.stderr


def test_try_prints_tables(tmp_path: Path) -> None:
    """The whole, then by rule, user and resource."""
    recommended = write_recommended(tmp_path)
    done = run("try", recommended, LOG)

    headings = [line.split()[0] for line in done.stdout.splitlines() if "kept events" in line]
    assert done.exit_code == 0
    assert headings == ["rule", "user", "resource"]


@pytest.mark.parametrize("command", ["explain", "try"])
def test_a_policy_that_would_be_refused_is_refused_with_the_same_words(tmp_path: Path, command: str) -> None:
    """As by check."""
    bad = tmp_path / "bad.yaml"
    bad.write_text(HEAD + "- level: All\n")

    done, checked = run(command, bad, LOG), run("check", bad)

    assert done.exit_code == 2
    assert done.stderr == checked.stdout


def node_event(number: int, **fields: Any) -> bytes:
    """Return an event of a node that renews its lease."""
    reference = {
        "resource": "leases",
        "namespace": "kube-node-lease",
        "name": f"node-{number}",
        "apiGroup": "coordination.k8s.io",
    }
    user = {"username": f"system:node:node-{number}", "groups": ["system:nodes", "system:authenticated"]}
    uri = f"/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/node-{number}"
    return event(level="Metadata", verb="update", user=user, objectRef=reference, requestURI=uri, **fields)


def seen(events: list[bytes]) -> list[Explained]:
    """Return the events as a policy that records everything sees them."""
    policy = load((HEAD + "- level: Metadata\n").encode()).policy
    assert policy is not None
    found = batches.read(eventlist(events), "x", heads=PolicyHead).events
    return [each for each in explained(found, policy) if isinstance(each, Explained)]


def test_rules_are_proposed_for_the_noise_of_components_alone() -> None:
    """What people do is kept, and secrets, and what happens once."""
    reference = {"resource": "secrets", "namespace": "x", "name": "y"}
    nodes = ["system:nodes"]
    secrets = event(
        user={"username": "system:node:a", "groups": nodes}, verb="get", level="Metadata", objectRef=reference
    )
    human = event("alice", verb="get", level="Metadata", objectRef={"resource": "pods"}, requestURI="/api/v1/pods")

    [found] = noise.proposals(seen([node_event(number) for number in range(50)] + [secrets] * 50 + [human] * 50))

    assert found.events == 50
    assert found.rule.user_groups == ("system:nodes",)
    assert found.rule.resources[0].resources == ("leases",)
    text = noise_text.inserted(profile("minimal"), [found], found.bytes * 2)
    loaded = load(text.encode())
    assert loaded.policy is not None
    assert [rule.level for rule in loaded.policy.rules] == ["None", "Metadata"]
    assert "# Noise: 50 events, 50.0 % of the bytes of the rest." in text


@pytest.mark.parametrize("subresource", ["exec", "attach", "portforward", "proxy", "log"])
def test_no_rule_is_proposed_for_ways_into_pods(subresource: str) -> None:
    """Over WebSockets they are GETs, so an account that only reads would hide them."""
    account = "system:serviceaccount:kube-system:tool"
    into = event(
        user={"username": account, "groups": ["system:serviceaccounts:kube-system"]},
        verb="get",
        level="Metadata",
        objectRef={"resource": "pods", "subresource": subresource, "namespace": "x", "name": "y"},
        requestURI=f"/api/v1/namespaces/x/pods/y/{subresource}",
    )

    assert noise.proposals(seen([into] * 50)) == []


def test_init_proposes_rules_from_a_recording(tmp_path: Path) -> None:
    """The result is a policy without findings, in which the noise is not recorded."""
    recording = tmp_path / "list.json"
    events = [node_event(number).replace(b"kube-node-lease", b"elsewhere") for number in range(30)]
    recording.write_bytes(eventlist(events))

    done = run("init", "--from", recording, "--output", tmp_path / "policy.yaml")
    tried = run("try", tmp_path / "policy.yaml", recording, "--output", "json")

    assert done.exit_code == 0
    assert "1 rules proposed" in done.stderr
    assert run("check", tmp_path / "policy.yaml").exit_code == 0
    assert json.loads(tried.stdout)["policy"]["events"] == 0
