"""The flags in the format of each installer, with the mounts for their files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st
from support.bombs import ALIAS_BOMB
from support.eventlists import PROPERTY

from auditsplit.apiserver.installers import INSTALLERS, Plan, kops, kubeadm, static_pod, talos
from auditsplit.apiserver.installers.volumes import kubeconfig_paths, volumes
from auditsplit.cli import main
from auditsplit.errors import SettingsError
from auditsplit.webhook.kubeconfig import schema

FLAGS = {"audit-webhook-mode": "batch", "audit-webhook-batch-max-size": "400"}


def run(*arguments: str) -> Result:
    """Run the command for a small load. Any exception except its own exit fails the test."""
    result = CliRunner().invoke(main, ["flags", "--rate", "20", "--platform", "local", *arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
    return result


def mounts(*files: str, log_path: str | None = None) -> dict[str, tuple[str, bool]]:
    """Return the mounted paths, each with its hostPath's type and whether it is read-only."""
    return {volume.path: (volume.kind, volume.read_only) for volume in volumes(files, kubeadm.MOUNTED, log_path)}


def test_a_folder_with_several_files_is_mounted_once() -> None:
    """The folder is mounted, so that the pod sees a token file that is replaced."""
    assert mounts("/etc/kubernetes/audit/a.yaml", "/etc/kubernetes/audit/token", "/etc/kubernetes/audit/x/ca") == {
        "/etc/kubernetes/audit": ("Directory", True)
    }


@pytest.mark.parametrize("file", ["/etc/kubernetes/webhook.yaml", "/usr/local/bin/get-token", "/token"])
def test_only_the_file_is_mounted_from_a_shared_folder(file: str) -> None:
    """The pod must not see admin.conf, and kube-apiserver's own program must not be hidden."""
    assert mounts(file) == {file: ("File", True)}


@pytest.mark.parametrize("file", ["/etc/kubernetes/pki/ca.crt", "/etc/kubernetes/pki/audit/ca.crt", "/etc/ssl/certs/x"])
def test_a_path_that_kubeadm_mounts_is_left_out(file: str) -> None:
    """The kubelet refuses a second mount of one path."""
    assert mounts(file) == {}


def test_the_logs_folder_is_writable() -> None:
    """It is made if it is missing. The other folders are read-only."""
    assert mounts("/a/b/c", log_path="/var/log/kubernetes/audit/audit.log") == {
        "/a/b": ("Directory", True),
        "/var/log/kubernetes/audit": ("DirectoryOrCreate", False),
    }


@pytest.mark.parametrize("log_path", ["/a/b/audit.log", "/a/b/log/audit.log"])
def test_a_log_in_a_read_only_folder_is_refused(log_path: str) -> None:
    """Otherwise the pod could write its own kubeconfig, or could not write its log."""
    with pytest.raises(SettingsError, match="--log-path"):
        volumes(["/a/b/webhook.yaml"], (), log_path)


def test_volume_names_are_unique() -> None:
    """Kubernetes requires it."""
    named = [volume.name for volume in volumes(["/a/x", "/b/x", "/c/x"], (), "/d/x")]

    assert named == ["auditsplit", "auditsplit-1", "auditsplit-2", "auditsplit-log"]


def test_a_kubeconfigs_paths_are_absolute() -> None:
    """Relative paths start at its folder, and ``..`` is resolved, since a hostPath must not have it."""
    users: list[dict[str, Any]] = [
        {"user": {"tokenFile": "token", "client-certificate": "/pki/a.crt", "client-key": "/pki/a.key"}},
        {"user": {"exec": {"command": "gcloud"}}},
        {"user": {"exec": {"command": "/opt/bin/token"}}},
        {"user": None},
    ]
    kubeconfig = {"clusters": [{"cluster": {"certificate-authority": "../ca.crt"}}], "users": users}

    document = schema.decode(schema.parse(yaml.safe_dump(kubeconfig)))

    paths = kubeconfig_paths(document, Path("/etc/audit"))

    assert paths == ["/etc/ca.crt", "/etc/audit/token", "/pki/a.crt", "/pki/a.key", "/opt/bin/token"]


PLAN = Plan(FLAGS, ("/a/policy.yaml",))
MOUNT = {"name": "auditsplit", "hostPath": "/a", "mountPath": "/a", "readOnly": True, "pathType": "Directory"}


def written(form: str, plan: Plan = PLAN) -> Any:
    """Return the format's document for the plan."""
    return yaml.safe_load(INSTALLERS[form].write(plan))


def test_kubeadms_arguments_are_a_list_or_a_mapping() -> None:
    """By the version: kubeadm.k8s.io/v1beta4 has names and values, and v1beta3 has keys. Every value is a string."""
    newer, older = written("kubeadm"), written("kubeadm-v1beta3")

    assert (newer["apiVersion"], newer["kind"]) == ("kubeadm.k8s.io/v1beta4", "ClusterConfiguration")
    assert newer["apiServer"]["extraArgs"] == [{"name": name, "value": value} for name, value in FLAGS.items()]
    assert (older["apiVersion"], older["apiServer"]["extraArgs"]) == ("kubeadm.k8s.io/v1beta3", FLAGS)
    assert newer["apiServer"]["extraVolumes"] == older["apiServer"]["extraVolumes"] == [MOUNT]


def test_the_patch_sets_args_and_not_command() -> None:
    """A strategic patch would replace the whole command."""
    document = written("static-pod", Plan(FLAGS, ("/etc/a.yaml",)))

    [container] = document["spec"]["containers"]
    assert container == {
        "name": "kube-apiserver",
        "args": ["--audit-webhook-mode=batch", "--audit-webhook-batch-max-size=400"],
        "volumeMounts": [{"name": "auditsplit", "mountPath": "/etc/a.yaml", "readOnly": True}],
    }
    assert document["spec"]["volumes"] == [{"name": "auditsplit", "hostPath": {"path": "/etc/a.yaml", "type": "File"}}]


def test_rke2_mounts_the_folders_and_adds_to_the_arguments() -> None:
    """With ``+``, the arguments of config.yaml stay. k3s needs no mounts, because it sees every file."""
    plan = Plan(FLAGS, ("/a/policy.yaml", "/etc/ssl/certs/ca.pem"), "/log/audit.log")
    arguments = ["audit-webhook-mode=batch", "audit-webhook-batch-max-size=400"]

    assert written("rke2", plan) == {
        "kube-apiserver-arg+": arguments,
        "kube-apiserver-extra-mount+": ["/a:/a:ro", "/log:/log"],
    }
    assert written("k3s", plan) == {"kube-apiserver-arg+": arguments}


def test_kops_has_fields_and_the_files_themselves() -> None:
    """Numbers are numbers. A file outside of the mounted folder is refused, and truncation is not possible."""
    flags = FLAGS | {"audit-webhook-batch-throttle-enable": "true", "audit-webhook-truncate-enabled": "true"}
    path = f"{kops.FOLDER}/policy.yaml"

    document = written("kops", Plan(flags | {"audit-log-maxage": "30"}, (path,), None, {path: "a\nb\n"}))["spec"]

    assert document["kubeAPIServer"] == {
        "auditWebhookMode": "batch",
        "auditWebhookBatchMaxSize": 400,
        "auditWebhookBatchThrottleEnable": True,
        "auditLogMaxAge": 30,
    }
    [asset] = document["fileAssets"]
    assert (asset["name"], asset["path"], asset["content"]) == ("policy-yaml", path, "a\nb\n")
    with pytest.raises(SettingsError, match=kops.FOLDER):
        kops.write(PLAN)


def test_kind_mounts_the_files_into_the_node_and_on_into_the_pod() -> None:
    """There is a patch for each version of kubeadm's API, and kind chooses by the version that it names."""
    document = written("kind")

    [node] = document["nodes"]
    patches = [yaml.safe_load(patch) for patch in node["kubeadmConfigPatches"]]
    assert node["extraMounts"] == [{"hostPath": "./files/a", "containerPath": "/a", "readOnly": True}]
    assert [patch["apiVersion"] for patch in patches] == ["kubeadm.k8s.io/v1beta3", "kubeadm.k8s.io/v1beta4"]
    assert all(patch["apiServer"]["extraVolumes"] == [MOUNT] for patch in patches)


def test_minikube_has_options_and_one_folder() -> None:
    """A file or a log elsewhere is refused."""
    plan = Plan(FLAGS, ("/etc/ssl/certs/audit/policy.yaml",), "-")

    assert INSTALLERS["minikube"].write(plan).split() == [
        "--extra-config=apiserver.audit-webhook-mode=batch",
        "--extra-config=apiserver.audit-webhook-batch-max-size=400",
    ]
    for refused in (PLAN, plan._replace(log_path="/var/log/audit.log")):
        with pytest.raises(SettingsError, match="/etc/ssl/certs"):
            INSTALLERS["minikube"].write(refused)


def test_talos_has_the_policy_itself_and_files_that_everyone_can_read() -> None:
    """kube-apiserver does not run as root there. A file outside of /var is refused."""
    flags = FLAGS | {"audit-policy-file": "/var/a/policy.yaml"}
    paths = ("/var/a/policy.yaml", "/var/a/webhook.yaml")
    contents = {paths[0]: "kind: Policy\n", paths[1]: "kind: Config\n"}

    text = talos.write(Plan(flags, paths, None, contents))
    document = yaml.safe_load(text)

    assert document["cluster"]["apiServer"] == {
        "extraArgs": FLAGS,
        "extraVolumes": [{"hostPath": "/var/a", "mountPath": "/var/a", "readonly": True}],
        "auditPolicy": {"kind": "Policy"},
    }
    [file] = document["machine"]["files"]
    assert (file["path"], file["op"], file["content"]) == (paths[1], "create", contents[paths[1]])
    assert "permissions: 0444\n" in text
    with pytest.raises(SettingsError, match="below /var"):
        talos.write(PLAN)


def test_kubespray_has_variables() -> None:
    """They go into kubeadm's configuration."""
    volume = {"name": "auditsplit", "hostPath": "/a", "mountPath": "/a", "readOnly": True}

    assert written("kubespray") == {
        "kube_kubeadm_apiserver_extra_args": FLAGS,
        "apiserver_extra_volumes": [volume],
    }


# merging

CONFIGURATION = """\
apiServer:
  extraArgs:
  - {name: authorization-mode, value: "Node,RBAC"}
  - {name: audit-webhook-mode, value: blocking}
  - {name: audit-webhook-mode, value: blocking-strict}
  extraVolumes:
  - {name: auditsplit, hostPath: /oidc, mountPath: /oidc, readOnly: true, pathType: Directory}
  timeoutForControlPlane: 4m0s
apiVersion: kubeadm.k8s.io/v1beta4
controlPlaneEndpoint: 010.example.com:6443
kind: ClusterConfiguration
kubernetesVersion: 1.30
networking: {podSubnet: 10.244.0.0/16}
"""


def test_kubeadms_own_configuration_stays() -> None:
    """Each of its values is as it was written, and a flag of ours that was there has our value, once."""
    text, changes = kubeadm.merge(f"kind: InitConfiguration\nx: 0o7\n---\n{CONFIGURATION}", PLAN)

    first, merged = yaml.safe_load_all(text)
    before = yaml.safe_load(CONFIGURATION)
    server = merged.pop("apiServer")
    assert {**merged, "apiServer": None} == {**before, "apiServer": None}
    assert first["kind"] == "InitConfiguration"
    assert all(f"{value}\n" in text for value in ("kubernetesVersion: 1.30", "x: 0o7", "010.example.com:6443"))
    assert server["timeoutForControlPlane"] == "4m0s"
    assert server["extraArgs"] == [
        {"name": "authorization-mode", "value": "Node,RBAC"},
        {"name": "audit-webhook-mode", "value": "batch"},
        {"name": "audit-webhook-batch-max-size", "value": "400"},
    ]
    assert [volume["name"] for volume in server["extraVolumes"]] == ["auditsplit", "auditsplit-1"]
    assert [str(change) for change in changes] == [
        "audit-webhook-mode: batch instead of blocking-strict",
        "audit-webhook-batch-max-size: 400",
        "volume /a: mounted",
    ]


PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=20)
    | st.sampled_from(["010", "1.30", "yes", "2026-01-31"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=12,
)


@PROPERTY
@given(st.dictionaries(st.text(min_size=1, max_size=9), PLAIN, max_size=4), st.booleans())
def test_whatever_else_a_configuration_has_stays(other: dict[str, Any], flow: bool) -> None:  # noqa: FBT001
    """In block and in flow style. The result has our flags and volumes, and a second merge changes nothing."""
    document = {"kind": "ClusterConfiguration", "apiVersion": "kubeadm.k8s.io/v1beta4", "other": other}
    before = yaml.safe_dump(document, default_flow_style=flow, allow_unicode=flow)

    text, _ = kubeadm.merge(before, PLAN)

    assert yaml.safe_load(text) == yaml.safe_load(before) | {
        "apiServer": kubeadm.document(PLAN, kubeadm.V1BETA4)["apiServer"]
    }
    assert kubeadm.merge(text, PLAN)[1] == []


def test_the_file_can_come_on_standard_input() -> None:
    """As from kubectl."""
    options = ["--rate", "20", "--platform", "local", "--format", "kubeadm", "--merge", "-"]

    result = CliRunner().invoke(main, ["flags", *options], input=CONFIGURATION)

    assert result.exit_code == 0
    assert yaml.safe_load(result.stdout)["networking"] == {"podSubnet": "10.244.0.0/16"}


@pytest.mark.parametrize("version", ["v1beta3", "v1beta4"])
def test_merging_twice_changes_nothing(version: str) -> None:
    """Also from a configuration without any section for kube-apiserver."""
    bare = f"apiVersion: kubeadm.k8s.io/{version}\nkind: ClusterConfiguration\napiServer:\n"

    once, changes = kubeadm.merge(bare, PLAN)
    twice, more = kubeadm.merge(once, PLAN)

    assert len(changes) == 3
    assert (twice, more) == (once, [])
    assert yaml.safe_load(once) == kubeadm.document(PLAN, f"kubeadm.k8s.io/{version}")


MANIFEST = """\
apiVersion: v1
kind: Pod
metadata: {name: kube-apiserver, annotations: {version: 1.30}}
spec:
  containers:
  - name: sidecar
    command: [sleep]
  - name: kube-apiserver
    command: [kube-apiserver, --etcd-servers=http://x, --audit-webhook-mode, blocking, --audit-webhook-batch-max-size=5]
    volumeMounts:
    - {name: k8s-certs, mountPath: /etc/kubernetes/pki, readOnly: true}
  volumes:
  - name: k8s-certs
    hostPath: {path: /etc/kubernetes/pki}
"""


def test_a_manifest_of_ones_own_stays() -> None:
    """Its other flags, mounts and containers too. A second merge changes nothing."""
    plan = Plan(FLAGS, ("/a/policy.yaml", "/etc/kubernetes/pki/ca.crt"))
    text, changes = static_pod.merge(MANIFEST, plan)
    again, more = static_pod.merge(text, plan)

    document = yaml.safe_load(text)
    sidecar, container = document["spec"]["containers"]
    assert sidecar == {"name": "sidecar", "command": ["sleep"]}
    assert container["command"] == [
        "kube-apiserver",
        "--etcd-servers=http://x",
        "--audit-webhook-mode=batch",
        "--audit-webhook-batch-max-size=400",
    ]
    assert [mount["mountPath"] for mount in container["volumeMounts"]] == ["/etc/kubernetes/pki", "/a"]
    assert document["spec"]["volumes"][1] == {"name": "auditsplit", "hostPath": {"path": "/a", "type": "Directory"}}
    assert len(changes) == 3
    assert (again, more) == (text, [])


@pytest.mark.parametrize(
    ("form", "text", "words"),
    [
        ("kubeadm", "a: [", "not valid YAML, line"),
        ("kubeadm", "kind: Pod", "expected a ClusterConfiguration, the file has Pod"),
        ("kubeadm", "", "the file has no document"),
        ("kubeadm", "[" * 3000, "not valid YAML"),
        ("kubeadm", "\xff", "is not readable text in UTF-8"),
        ("kubeadm", "kind: ClusterConfiguration\napiVersion: kubeadm.k8s.io/v1beta2", "kubeadm config migrate"),
        (
            "kubeadm",
            "kind: ClusterConfiguration\napiVersion: kubeadm.k8s.io/v1beta4\napiServer: {extraArgs: {a: b}}",
            "extraArgs must be a list",
        ),
        ("static-pod", "kind: Pod\nspec: {containers: [{name: x}]}", "no container kube-apiserver"),
    ],
)
def test_a_file_that_cannot_be_merged_into_is_named(tmp_path: Path, form: str, text: str, words: str) -> None:
    """It is misuse, and nothing is printed."""
    file = tmp_path / "file.yaml"
    file.write_text(text, "latin-1")

    result = run("--format", form, "--merge", str(file))

    assert (result.exit_code, result.stdout) == (2, "")
    assert words in result.stderr


def test_the_merged_file_is_all_that_is_on_standard_output(tmp_path: Path) -> None:
    """What changed and why is on standard error. A format without merging refuses the option."""
    file = tmp_path / "cluster.yaml"
    file.write_text(CONFIGURATION)

    result, refused = (run("--format", form, "--merge", str(file)) for form in ("kubeadm", "k3s"))

    assert yaml.safe_load(result.stdout)["networking"] == {"podSubnet": "10.244.0.0/16"}
    assert f"{file}: audit-webhook-mode: batch instead of blocking-strict" in result.stderr
    assert "# 20 events/s" in result.stderr
    assert refused.exit_code == 2
    assert "goes with --format kubeadm, kubeadm-v1beta3, static-pod, not with k3s" in refused.stderr


def test_the_files_of_a_folder_here_go_into_the_document(tmp_path: Path) -> None:
    """Also those that the kubeconfig names. A file that is missing is named."""
    kubeconfig = {"users": [{"user": {"tokenFile": "token"}}]}
    for name, text in {"policy.yaml": "kind: Policy\n", "webhook.yaml": yaml.safe_dump(kubeconfig)}.items():
        (tmp_path / name).write_text(text)
    there = ["--config", "/var/lib/auditsplit/webhook.yaml", "--policy", "/var/lib/auditsplit/policy.yaml"]

    missing = run("--format", "talos", "--files", str(tmp_path), *there)
    (tmp_path / "token").write_bytes(b"\xff")
    binary = run("--format", "talos", "--files", str(tmp_path), *there)
    (tmp_path / "token").write_text("secret")
    result = run("--format", "talos", "--files", str(tmp_path), *there)

    files = yaml.safe_load(result.stdout)["machine"]["files"]
    assert {file["path"]: file["content"] for file in files} == {
        "/var/lib/auditsplit/webhook.yaml": yaml.safe_dump(kubeconfig),
        "/var/lib/auditsplit/token": "secret",
    }
    assert (missing.exit_code, missing.stdout) == (2, "")
    assert f"--files: no such file or directory: {tmp_path}/token" in missing.stderr
    assert "is not text in UTF-8" in binary.stderr


def test_kops_says_which_flags_it_cannot_set() -> None:
    """Then the size of a batch has no bound."""
    result = run("--format", "kops", "--policy", f"{kops.FOLDER}/p.yaml", "--config", f"{kops.FOLDER}/w.yaml")

    assert (
        "# kops cannot set --audit-webhook-truncate-enabled, --audit-webhook-truncate-max-event-size" in result.stdout
    )
    assert "audit-webhook-truncate" not in yaml.safe_dump(yaml.safe_load(result.stdout))


def test_a_bare_configuration_says_that_it_is_for_new_clusters(tmp_path: Path) -> None:
    """Over a running node it would replace the cluster's own settings. A merged one has them."""
    file = tmp_path / "cluster.yaml"
    file.write_text(CONFIGURATION)

    bare, merged = run("--format", "kubeadm"), run("--format", "kubeadm", "--merge", str(file))

    assert "# This is for a new cluster." in bare.stdout
    assert "This is for a new cluster" not in merged.output


@pytest.mark.parametrize("form", ["kubeadm", "static-pod"])
def test_documents_begin_with_the_reasons(form: str) -> None:
    """Standard output is the file, and the comments in it say why its values are so."""
    result = run("--format", form)

    assert result.exit_code == 0
    assert result.stdout.startswith("# 20 events/s, 40 at the peak")
    assert yaml.safe_load(result.stdout)["apiVersion"] in ("v1", "kubeadm.k8s.io/v1beta4")
    assert "is not on this machine. Name the files that it needs with --file" in result.stderr


def test_the_files_of_a_local_kubeconfig_are_mounted(tmp_path: Path) -> None:
    """And the files that ``--file`` names."""
    config = tmp_path / "webhook.yaml"
    config.write_text(yaml.safe_dump({"clusters": [{"cluster": {"certificate-authority": "/pki/ca.crt"}}]}))

    result = run("--format", "kubeadm", "--config", str(config), "--file", "/token/now")

    paths = {volume["hostPath"] for volume in yaml.safe_load(result.stdout)["apiServer"]["extraVolumes"]}
    assert paths == {str(tmp_path), "/etc/kubernetes/audit", "/pki", "/token"}
    assert result.stderr == ""


@pytest.mark.parametrize(
    "text", ["- 1", "{", "clusters: [1]", "users: [{user: {tokenFile: 5}}]", "a: \x01", ALIAS_BOMB]
)
def test_a_malformed_kubeconfig_is_reported(tmp_path: Path, text: str) -> None:
    """With its path, and without its content, which may be a secret."""
    config = tmp_path / "webhook.yaml"
    config.write_text(text)

    result = run("--format", "kubeadm", "--config", str(config))

    assert result.exit_code == 2
    assert f"{config}: not a readable kubeconfig" in result.stderr
    assert result.stdout == ""


def test_a_log_on_standard_output_needs_no_volume() -> None:
    """A log beside the files is misuse."""
    fine = run("--format", "static-pod", "--log-path", "-")
    misuse = run("--format", "static-pod", "--log-path", "/etc/kubernetes/audit/audit.log")

    assert [volume["name"] for volume in yaml.safe_load(fine.stdout)["spec"]["volumes"]] == ["auditsplit"]
    assert (misuse.exit_code, misuse.stdout) == (2, "")
