"""``auditsplit flags check``: which files it reads, and which faults of the flags it finds."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result
from support.apiserver_flags import REFUSED
from support.bombs import ALIAS_BOMB
from support.recording import DATA

from auditsplit.apiserver.flags import faults, given, known
from auditsplit.apiserver.flags.faults import Subject
from auditsplit.apiserver.flags.platforms import DEFAULT_MAX_BODY_BYTES, PLATFORMS
from auditsplit.apiserver.installers import INSTALLERS
from auditsplit.cli import main

FILES = "--audit-policy-file=/a/policy.yaml --audit-webhook-config-file=/a/webhook.yaml"
GOOD = f"{FILES} --audit-webhook-truncate-enabled --audit-webhook-batch-max-size=90"
BOTH = {"audit-policy-file": "/a/policy.yaml", "audit-webhook-config-file": "/a/webhook.yaml"}


def run(*arguments: str, text: str | None = None) -> Result:
    """Run the command. Any exception except its own exit fails the test."""
    result = CliRunner().invoke(main, ["flags", "check", *arguments], input=text)
    assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
    return result


def found(text: str, platform: str | None = None, named: tuple[str, ...] | None = None) -> dict[str, str]:
    """Return the findings of a file: the level by the rule."""
    chosen = PLATFORMS[platform] if platform else None
    subject = Subject(given.read(text), named, chosen, DEFAULT_MAX_BODY_BYTES)
    return {finding.rule: finding.level for finding in faults.check(subject)}


# what is read


def pod(words: list[str], mounts: list[str]) -> str:
    """Return a manifest whose mounts are named by numbers."""
    container = {
        "name": "kube-apiserver",
        "command": ["kube-apiserver", *words],
        "volumeMounts": [
            {"name": str(number), "mountPath": path, "readOnly": True} for number, path in enumerate(mounts)
        ],
    }
    volumes = [{"name": str(number), "hostPath": {"path": path}} for number, path in enumerate(mounts)]
    return yaml.safe_dump({"kind": "Pod", "spec": {"containers": [container], "volumes": volumes}})


CONFIGURATION = yaml.safe_dump(
    {
        "kind": "ClusterConfiguration",
        "apiServer": {
            "extraArgs": [{"name": name, "value": value} for name, value in BOTH.items()],
            "extraVolumes": [{"name": "audit", "hostPath": "/a", "mountPath": "/a", "readOnly": True}],
        },
    }
)
OLDER = yaml.safe_dump({"kind": "ClusterConfiguration", "apiServer": {"extraArgs": BOTH}})
RKE2 = {
    "kube-apiserver-arg+": [f"{name}={value}" for name, value in BOTH.items()],
    "kube-apiserver-extra-mount": "/a:/a:ro",
}


@pytest.mark.parametrize(
    ("text", "source", "mounts"),
    [
        (f"kube-apiserver {FILES} -v 2", "a command line", None),
        (f"# why\n{FILES}".replace(" ", "\n"), "a command line", None),
        (FILES.replace("=", " "), "a command line", None),
        (f"kube-apiserver\0{FILES}\0".replace(" ", "\0"), "a process's command line", None),
        (
            f"[Unit]\nA=b\n[Service]\nExecStart=/usr/bin/kube-apiserver {FILES}".replace(" --", " \\\n  --"),
            "a systemd unit",
            None,
        ),
        (pod(FILES.split(), ["/a"]), "a Pod", {"/a"}),
        (f"kind: InitConfiguration\n---\n{CONFIGURATION}", "a ClusterConfiguration", {"/a"}),
        (OLDER, "a ClusterConfiguration", set()),
        (
            yaml.safe_dump({"kind": "ConfigMap", "data": {"ClusterConfiguration": OLDER}}),
            "a ClusterConfiguration",
            set(),
        ),
        (yaml.safe_dump({"kube-apiserver-arg": RKE2["kube-apiserver-arg+"]}), "a configuration of k3s or RKE2", None),
        (yaml.safe_dump(RKE2), "a configuration of RKE2", {"/a"}),
    ],
)
def test_flags_are_read_from_each_kind_of_file(text: str, source: str, mounts: set[str] | None) -> None:
    """With the mounts, where kube-apiserver is in a pod. Those that kubeadm and RKE2 make by themselves count too."""
    read = given.read(text)

    own = {"/etc/kubernetes/pki", "/etc/ssl/certs", "/var/lib/rancher/rke2/server/logs"}
    assert read.source == source
    assert {name: value for name, value in read.values().items() if name in BOTH} == BOTH
    assert (None if read.mounts is None else {mount.path for mount in read.mounts} - own) == mounts


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no flags found. Expected"),
        ("hello", "no flags found"),
        ("kind: Deployment\n", "expected a Pod, a ClusterConfiguration or kube-apiserver-arg, not Deployment"),
        ("kind: Pod\nspec: {containers: secret}\n", "does not have the fields of its kind"),
        ("a: [", "not valid YAML"),
        (ALIAS_BOMB, "aliases are not accepted"),
        ("--a='secret", "open quote"),
    ],
)
def test_another_file_is_misuse(tmp_path: Path, text: str, words: str) -> None:
    """The message says what was expected, and quotes no value."""
    file = tmp_path / "file"
    file.write_text(text)

    result = run(str(file))

    assert (result.exit_code, result.stdout) == (2, "")
    assert words in result.stderr
    assert "secret" not in result.stderr


# what is found


def test_the_flags_of_kube_apiserver_are_known() -> None:
    """With the types that the help of a real v1.37.2 names."""
    lines = re.findall(r"^--(\S+) (\S*)$", (DATA / "kube-apiserver-v1.37.2-audit-flags.txt").read_text(), re.MULTILINE)

    assert {name: kind or "bool" for name, kind in lines} == known.TYPES


@pytest.mark.parametrize(
    "form", [form for form in INSTALLERS if form not in ("minikube", "talos", "kubespray", "kops", "kind")]
)
@pytest.mark.parametrize("platform", ["lambda", "cloud-run"])
def test_what_flags_prints_has_no_fault(tmp_path: Path, form: str, platform: str) -> None:
    """In each format that check reads, with the platform that the flags are for."""
    file = tmp_path / "file"
    size = ["flags", "--rate", "20", "--platform", platform, "--format", form, "--log-path", "/var/log/audit/a.log"]
    file.write_text(CliRunner().invoke(main, size).stdout)

    result = run(str(file), "--platform", platform)

    assert (result.exit_code, result.stdout) == (0, "")


@pytest.mark.parametrize(("flags", "rule"), REFUSED)
def test_flags_that_kube_apiserver_refuses_are_found(flags: str, rule: str) -> None:
    """An e2e test shows that a real one refuses each of them."""
    assert found(f"{GOOD} {flags}")[rule] == "error"


@pytest.mark.parametrize(
    ("text", "platform", "expected"),
    [
        (GOOD, None, {}),
        (GOOD, "cloud-run", {}),
        (f"{FILES} --audit-webhook-truncate-enabled", "lambda", {"too-large": "error"}),
        (f"{FILES} --audit-webhook-truncate-enabled", "cloud-run", {"too-large": "error"}),
        (FILES, None, {"no-truncation": "warning"}),
        (FILES, "local", {"no-truncation": "error"}),
        (f"{GOOD} --audit-webhook-truncate-max-batch-size=1000000", None, {"no-effect": "warning"}),
        (f"{GOOD} --audit-webhook-mode=blocking", "lambda", {"mode": "warning"}),
        (f"{GOOD} --audit-webhook-batch-max-size=80", None, {"repeated": "warning"}),
        (f"{GOOD} --audit-webhook-batch-throttle-enable=false --audit-webhook-batch-throttle-qps=0", None, {}),
        (f"{GOOD} --audit-webhook-batch-max-wait=1m30s --audit-log-batch-max-wait=0", None, {}),
        (GOOD.replace("/a/policy", "policy"), None, {"relative-path": "error"}),
        ("--audit-policy-file=/a/p --audit-webhook-truncate-enabled", None, {"no-webhook": "error"}),
        ("--audit-webhook-config-file=/a/w --audit-webhook-truncate-enabled", None, {"no-policy": "error"}),
        (pod(GOOD.split(), ["/a"]), None, {}),
        (pod(GOOD.split(), ["/a/policy.yaml"]), None, {"not-mounted": "error"}),
        (pod(GOOD.split(), ["/ab"]), None, {"not-mounted": "error"}),
        (pod([*GOOD.split(), "--audit-log-path=/a/log"], ["/a"]), None, {"read-only": "error"}),
        (pod([*GOOD.split(), "--audit-log-path=/b/log"], ["/a"]), None, {"not-mounted": "warning"}),
        (OLDER, None, {"not-mounted": "error", "no-truncation": "warning"}),
    ],
)
def test_each_fault_has_a_name_and_a_level(text: str, platform: str | None, expected: dict[str, str]) -> None:
    """Good flags have none."""
    assert found(text, platform) == expected


def test_the_suggested_batch_size_fits() -> None:
    """And one more event does not."""
    large = f"{FILES} --audit-webhook-truncate-enabled --audit-webhook-batch-max-size="
    subject = Subject(given.read(f"{large}400"), None, PLATFORMS["lambda"], DEFAULT_MAX_BODY_BYTES)

    [finding] = faults.check(subject)
    [fitting] = re.findall(r"Write --audit-webhook-batch-max-size=(\d+)$", finding.reason)

    assert found(f"{large}{fitting}", "lambda") == {}
    assert found(f"{large}{int(fitting) + 1}", "lambda") == {"too-large": "error"}


def test_a_misspelt_flag_gets_a_suggestion() -> None:
    """Also with underscores. Other flags of kube-apiserver are none of our business."""
    reasons = [
        finding.reason
        for finding in faults.check(
            Subject(given.read(f"{GOOD} --adit-webhook-mode=x --audit_log_path=/x --etcd-servers=y"))
        )
    ]

    assert len(reasons) == 2
    assert "Did you mean --audit-webhook-mode?" in reasons[0]
    assert "Did you mean --audit-log-path?" in reasons[1]


def test_the_files_of_the_kubeconfig_must_be_mounted_too(tmp_path: Path) -> None:
    """The kubeconfig is found through the pod's mount of it. RKE2 mounts what flags name, but not those."""
    (tmp_path / "webhook.yaml").write_text(yaml.safe_dump({"users": [{"user": {"tokenFile": "/token/now"}}]}))
    manifest = yaml.safe_load(pod(GOOD.split(), ["/a", "/b"]))
    manifest["spec"]["volumes"][0]["hostPath"]["path"] = str(tmp_path)
    rke2 = {"kube-apiserver-arg": [word[2:] for word in GOOD.split()], "kube-apiserver-extra-mount": [f"{tmp_path}:/a"]}

    for document in (manifest, rke2):
        result = run("-", text=yaml.safe_dump(document))

        assert result.exit_code == 1
        assert "not-mounted: the kubeconfig names /token/now, which kube-apiserver's pod does not see" in result.stdout


def test_an_installers_names_have_no_dashes() -> None:
    """Kubeadm writes ``----audit-webhook-mode`` otherwise."""
    arguments = [{"name": f"--{name}", "value": value} for name, value in BOTH.items()]
    document = {"kind": "ClusterConfiguration", "apiServer": {"extraArgs": arguments}}

    assert found(yaml.safe_dump(document))["unknown-flag"] == "error"


def test_an_unreadable_kubeconfig_is_another_commands_business(tmp_path: Path) -> None:
    """Its name is on standard error. The flags are checked all the same."""
    (tmp_path / "webhook.yaml").write_text("{")

    result = run("-", text=GOOD.replace("/a/webhook.yaml", f"{tmp_path}/webhook.yaml"))

    assert (result.exit_code, result.stdout) == (0, "")
    assert f"Run 'auditsplit kubeconfig check {tmp_path}/webhook.yaml'" in result.stderr


def test_findings_are_also_a_document() -> None:
    """The summary for a person is on standard error."""
    result = run("-", "--output", "json", text=f"{GOOD} --audit-webhook-batch-max-wait=5")

    document = json.loads(result.stdout)
    assert result.exit_code == 1
    assert (document["file"], document["source"]) == ("-", "a command line")
    assert document["findings"] == [
        {
            "level": "error",
            "rule": "no-unit",
            "reason": "--audit-webhook-batch-max-wait=5: kube-apiserver does not start."
            " Write a unit too: 5s, 500ms or 1m",
        }
    ]


def test_warnings_alone_exit_with_0() -> None:
    """They are on standard output, and the count on standard error."""
    result = run("-", text=FILES)

    assert result.exit_code == 0
    assert result.stdout.startswith("warning: no-truncation: ")
    assert result.stderr == "-: a command line with 2 audit flags, 1 findings\n"


def test_a_missing_file_is_misuse(tmp_path: Path) -> None:
    """With the operating system's reason."""
    result = run(str(tmp_path / "none"))

    assert (result.exit_code, result.stdout) == (2, "")
    assert "no such file or directory" in result.stderr


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0", 0), ("1m30s", 90), ("-5s", -5), (".5s", 0.5), ("1.5h", 5400), ("10ms", 0.01), ("3us", 3e-6)],
)
def test_durations_are_read_as_go_reads_them(text: str, seconds: float) -> None:
    """Signs, fractions and several units."""
    assert known.seconds(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["5", "", "-", "5 s", "s", "1s-5s", "5d"])
def test_other_durations_are_refused(text: str) -> None:
    """Above all a number without a unit."""
    with pytest.raises(ValueError, match=r"unit|missing"):
        known.seconds(text)


@pytest.mark.parametrize(("text", "truth"), [("true", True), ("T", True), ("1", True), ("False", False), ("0", False)])
def test_booleans_are_read_as_go_reads_them(text: str, truth: bool) -> None:  # noqa: FBT001
    """But not yes, nor tRUE."""
    assert known.boolean(text) is truth
    for other in ("yes", "tRUE", ""):
        with pytest.raises(ValueError, match="not a boolean"):
            known.boolean(other)
