"""``auditsplit kubeconfig`` and ``auditsplit check --kubeconfig``: write, refuse and check kubeconfigs."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
import trustme
import yaml
from click.testing import CliRunner, Result
from support.bombs import ALIAS_BOMB

from auditsplit.auth import TokenHash
from auditsplit.cli import main
from auditsplit.settings import Settings
from auditsplit.webhook.kubeconfig.schema import EXEC_API_VERSION

SERVER = "https://audit.example.com"
PROD = Path("kubeconfigs/prod.yaml")
pytestmark = pytest.mark.usefixtures("workspace")


def run(*arguments: str, stdin: str | bytes | None = None, **environ: str) -> Result:
    """Run the command. Any exception except its own exit fails the test."""
    result = CliRunner().invoke(main, arguments, input=stdin, env=environ)
    assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
    return result


def create(*options: str, **environ: str) -> Result:
    """Write prod's kubeconfig with ``options``."""
    return run("kubeconfig", "prod", "--server", SERVER, *options, **environ)


def written(path: Path = PROD) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the cluster and the user in a written file."""
    document = yaml.safe_load(path.read_text())
    users = document["users"]
    return document["clusters"][0]["cluster"], users[0]["user"] if users else {}


def setting_in(text: str) -> str:
    """Return the value of the AUDIT_TOKENS in a command's output."""
    [value] = re.findall(r"^AUDIT_TOKENS='(.*)'$", text, re.MULTILINE)
    return str(value)


def sha256(token: str) -> str:
    """Return a token's hash in hex, computed without the package."""
    return hashlib.sha256(token.encode()).hexdigest()


# create


def test_create_makes_a_token_and_prints_its_setting() -> None:
    """Only the file has the token, and the file is private. The setting goes to standard output."""
    result = create()

    cluster, user = written()
    assert result.exit_code == 0
    assert cluster == {"server": f"{SERVER}/clusters/prod"}
    assert len(user["token"]) >= 43
    assert setting_in(result.stdout) == f"prod=sha256:{sha256(user['token'])}"
    assert user["token"] not in result.output
    assert stat.S_IMODE(PROD.stat().st_mode) == 0o600


def test_the_setting_keeps_the_configured_tokens() -> None:
    """So other clusters' tokens stay valid."""
    known = f"test=sha256:{1:064x}"

    result = create(AUDIT_TOKENS=known)

    assert setting_in(result.stdout).split()[0] == known
    assert len(setting_in(result.stdout).split()) == 2


def test_standard_output_has_only_the_document() -> None:
    """With ``--output -``, and no file is written."""
    result = create("--output", "-")

    document = yaml.safe_load(result.stdout)
    assert result.exit_code == 0
    assert setting_in(result.stderr) == f"prod=sha256:{sha256(document['users'][0]['user']['token'])}"
    assert not PROD.parent.exists()


@pytest.mark.parametrize(
    ("arguments", "cluster"),
    [
        (["prod", "--server", SERVER], "prod"),
        (["--server", SERVER, "prod"], "prod"),
        (["create", "prod", "--server", SERVER], "prod"),
        (["create", "check", "--server", SERVER], "check"),
        (["create", "from-list", "--server", SERVER], "from-list"),
    ],
)
def test_a_first_word_that_is_not_a_command_is_a_cluster(arguments: list[str], cluster: str) -> None:
    """Only a cluster with a command's name requires ``create`` before it."""
    result = run("kubeconfig", *arguments)

    assert result.exit_code == 0, result.output
    assert written(Path(f"kubeconfigs/{cluster}.yaml"))[0]["server"] == f"{SERVER}/clusters/{cluster}"


@pytest.mark.parametrize(
    ("server", "posted"),
    [
        (SERVER, f"{SERVER}/clusters/prod"),
        (f"{SERVER}/", f"{SERVER}/clusters/prod"),
        (f"{SERVER}:8443", f"{SERVER}:8443/clusters/prod"),
        (f"{SERVER}/clusters/other", f"{SERVER}/clusters/other"),
        (f"{SERVER}/gateway", f"{SERVER}/gateway"),
    ],
)
def test_a_server_without_a_path_gets_the_clusters_path(server: str, posted: str) -> None:
    """A given path stays."""
    run("kubeconfig", "prod", "--server", server)

    assert written()[0]["server"] == posted


def test_each_option_for_credentials_sets_its_fields(tmp_path: Path) -> None:
    """Without a token to hash, no setting is printed."""
    leaf = trustme.CA().issue_cert("a.example")
    pem = {
        "tls.crt": leaf.cert_chain_pems[0].bytes(),
        "tls.key": leaf.private_key_pem.bytes(),
        "word": b"pass word\r\n",
    }
    for name, content in pem.items():
        (tmp_path / name).write_bytes(content)
        (tmp_path / "kubeconfigs").mkdir(exist_ok=True)
        (tmp_path / "kubeconfigs" / name).write_bytes(content)
    pair = ["--client-certificate", "tls.crt", "--client-key", "tls.key"]
    program = ["--exec-command", "vault", "--exec-arg", "-x", "--exec-arg", "y", "--exec-env", "A=b=c"]
    data = {name: base64.b64encode(content).decode() for name, content in pem.items()}
    run_by = {"apiVersion": EXEC_API_VERSION, "interactiveMode": "Never"}
    cases: list[tuple[list[str], dict[str, Any]]] = [
        (["--token-file", "/run/token"], {"tokenFile": "/run/token"}),
        (["--basic", "prod", "--password-from", "word"], {"username": "prod", "password": "pass word"}),
        (pair, {"client-certificate": "tls.crt", "client-key": "tls.key"}),
        ([*pair, "--embed"], {"client-certificate-data": data["tls.crt"], "client-key-data": data["tls.key"]}),
        (
            program,
            {"exec": {**run_by, "command": "vault", "args": ["-x", "y"], "env": [{"name": "A", "value": "b=c"}]}},
        ),
        (["--no-credentials"], {}),
    ]
    for options, expected in cases:
        result = create(*options, "--force")

        assert result.exit_code == 0, result.output
        assert written()[1] == expected
        assert "AUDIT_TOKENS" not in result.output


@pytest.mark.parametrize("ending", ["", "\n", "\r\n"])
def test_a_token_is_read_from_a_file_or_standard_input(tmp_path: Path, ending: str) -> None:
    """A line break that an editor appended is removed."""
    (tmp_path / "token").write_text(f"a-token{ending}")

    results = [
        create("--token-from", "token"),
        run("kubeconfig", "test", "--server", SERVER, "--token-from", "-", stdin=f"a-token{ending}"),
    ]

    assert [result.exit_code for result in results] == [0, 0]
    assert written()[1] == written(Path("kubeconfigs/test.yaml"))[1] == {"token": "a-token"}
    assert setting_in(results[1].stdout) == f"test=sha256:{sha256('a-token')}"


def test_each_option_for_trust_sets_its_field(tmp_path: Path) -> None:
    """A CA as path or as data, a name, a proxy, or no verification."""
    ca = trustme.CA().cert_pem.bytes()
    (tmp_path / "ca.pem").write_bytes(ca)
    data = base64.b64encode(ca).decode()
    both = ["--tls-server-name", "a.example", "--proxy-url", "http://proxy.example.com:3128"]
    create("--ca-file", "/etc/ca.pem", *both)
    by_path = written()[0]
    create("--ca-data-from", "ca.pem", "--force")
    by_data = written()[0]
    create("--insecure-skip-tls-verify", "--force")

    server = {"server": f"{SERVER}/clusters/prod"}
    proxied = {"tls-server-name": "a.example", "proxy-url": "http://proxy.example.com:3128"}
    assert by_path == {**server, "certificate-authority": "/etc/ca.pem", **proxied}
    assert by_data == {**server, "certificate-authority-data": data}
    assert written()[0] == {**server, "insecure-skip-tls-verify": True}


def test_an_existing_file_is_replaced_only_with_force() -> None:
    """Otherwise the file and its token stay."""
    create()
    before = PROD.read_text()

    refused, forced = create(), create("--force")

    assert refused.exit_code == 2
    assert "exists. Write --force to replace it" in refused.stderr
    assert forced.exit_code == 0
    assert PROD.read_text() != before


def test_a_dry_run_prints_the_redacted_document() -> None:
    """It writes no file, and prints no setting for a token that is discarded."""
    result = create("--dry-run")

    assert result.exit_code == 0
    assert yaml.safe_load(result.stdout)["users"][0]["user"] == {"token": "(not shown)"}
    assert result.stderr == f"{PROD}: not written\n"
    assert not PROD.parent.exists()


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        (["--server", "http://127.0.0.1:8888"], "credentials-over-http"),
        (["--server", f"{SERVER}?token=x"], "server-query"),
        (["--server", "audit.example.com"], "server-url"),
        (["--server", "https://[audit"], "server-url"),
        (["--ca-file", "ca.pem", "--insecure-skip-tls-verify"], "insecure-with-ca"),
        (["--token-from", "two-lines"], "token-characters"),
        (["--token-from", "not-utf-8"], "token-characters"),
        (["--ca-data-from", "two-lines"], "no-ca"),
        (["--proxy-url", "ftp://a"], "proxy-url"),
    ],
)
def test_what_the_apiserver_would_get_wrong_is_not_written(options: list[str], rule: str, tmp_path: Path) -> None:
    """The check's rules apply: exit 1, the reason, and no file."""
    (tmp_path / "two-lines").write_text("s3cret\nb\n")
    (tmp_path / "not-utf-8").write_bytes(b"s3cret\xff")

    result = create(*options)

    assert result.exit_code == 1
    assert f"error: {rule}: " in result.stderr
    assert "s3cret" not in result.output
    assert not PROD.exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--token-file", "a", "--no-credentials"], "token-file and no-credentials: choose one kind of credentials"),
        (["--basic", "a"], "basic and password-from go together"),
        (["--password-from", "a"], "basic and password-from go together"),
        (["--client-key", "a"], "client-certificate and client-key go together"),
        (["--embed"], "embed requires client-certificate"),
        (["--exec-arg", "a"], "exec-arg requires exec-command"),
        (["--exec-command", "a", "--exec-env", "a"], "expected NAME=VALUE"),
        (["--ca-file", "a", "--ca-data-from", "b"], "ca-file and ca-data-from: choose one"),
        (["--token-from", "absent"], "absent"),
        (["--token-from", "empty"], "expected a secret"),
        (["--output", "taken"], "taken exists"),
    ],
)
def test_misuse_exits_with_2(options: list[str], message: str, tmp_path: Path) -> None:
    """Options that do not go together, or a file that cannot be read or replaced."""
    (tmp_path / "empty").touch()
    (tmp_path / "taken").touch()

    result = create(*options)

    assert result.exit_code == 2
    assert message in result.stderr
    assert not PROD.exists()


@pytest.mark.parametrize("cluster", ["Prod", "a/b", "..", "a" * 64])
def test_an_invalid_cluster_name_is_refused(cluster: str) -> None:
    """It never becomes a path."""
    result = run("kubeconfig", cluster, "--server", SERVER)

    assert result.exit_code == 2
    assert "is not a valid cluster name" in result.stderr
    assert not PROD.parent.exists()


def test_a_file_that_cannot_be_written_is_reported(tmp_path: Path) -> None:
    """With exit 1 and the file's name."""
    (tmp_path / "kubeconfigs").write_text("a file")

    result = create()

    assert result.exit_code == 1
    assert "kubeconfigs/prod.yaml: " in result.stderr


def test_another_clusters_token_is_refused(tmp_path: Path) -> None:
    """The function's settings would refuse a token of two clusters."""
    (tmp_path / "token").write_text("a-token")

    result = create("--token-from", "token", AUDIT_TOKENS=str(TokenHash.of("test", "a-token")))

    assert result.exit_code == 2
    assert "is another cluster's too" in result.stderr
    assert not PROD.exists()


@pytest.mark.parametrize("command", [["kubeconfig", "prod", "--server", SERVER], ["token", "prod"]])
def test_malformed_settings_are_reported_before_a_token_is_made(command: list[str]) -> None:
    """The message has the entry's number, and not the entry."""
    good = f"test=sha256:{1:064x}"

    result = run(*command, AUDIT_TOKENS=f"{good} prod=s3cret")

    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("error: AUDIT_TOKENS: entry 2: expected <cluster>=sha256:")
    assert "s3cret" not in result.output
    assert not PROD.exists()


# check


def test_check_prints_the_server_and_the_kind_of_credentials() -> None:
    """A good file exits with 0."""
    create()

    result = run("kubeconfig", "check", str(PROD))

    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == f"{PROD}: posts to {SERVER}/clusters/prod with a token\n"


def test_check_reports_errors_and_skips_the_probe() -> None:
    """With exit 1, since a probe would not show anything more."""
    create()
    PROD.write_text(
        PROD.read_text().replace("https", "http").replace("current-context: auditsplit", "current-context: x")
    )

    result = run("kubeconfig", "check", str(PROD), "--probe")

    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.startswith("error: unknown-context: ")


def test_warnings_alone_exit_with_0() -> None:
    """They are printed all the same."""
    run("kubeconfig", "prod", "--server", "https://auditsplit.audit.svc")

    result = run("kubeconfig", "check", str(PROD))

    assert result.exit_code == 0
    assert result.stderr.startswith("warning: cluster-dns: ")


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        (["--no-credentials"], "no credentials"),
        (["--token-file", "/run/token"], "a token from a file"),
        (["--exec-command", "vault"], "a program's credentials"),
    ],
)
def test_check_names_the_kind_of_credentials(options: list[str], kind: str) -> None:
    """So a missing user is noticed."""
    create(*options)

    assert run("kubeconfig", "check", str(PROD)).stdout.endswith(f" with {kind}\n")


@pytest.mark.parametrize(
    ("name", "content"), [("absent", None), ("text", b"text"), ("binary", b"\xff\xfe"), (".", None)]
)
def test_an_unreadable_file_is_misuse(name: str, content: bytes | None) -> None:
    """Exit 2 and the file's name, without a stack trace."""
    if content is not None:
        Path(name).write_bytes(content)

    results = [run("kubeconfig", "check", name), run("check", "--kubeconfig", name, AUDIT_SINKS="memory:")]

    for result in results:
        assert result.exit_code == 2
        assert result.stderr.startswith(f"error: {name}: ")


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("exit 3", "exit 3"),
        ("echo a >&2; exit 3", "exit 3: a"),
        ("echo s3cret", "expected an ExecCredential of client.authentication.k8s.io/v1"),
        ("echo '[]'", "expected an ExecCredential"),
        (
            'echo \'{"apiVersion":"v2","kind":"ExecCredential","status":{"token":"s3cret"}}\'',
            "expected an ExecCredential",
        ),
        (
            f'echo \'{{"apiVersion":"{EXEC_API_VERSION}","kind":"ExecCredential","status":{{}}}}\'',
            "expected an ExecCredential",
        ),
        ("exec sleep 5", "did not finish within 0.5 s"),
    ],
)
def test_the_probe_reports_a_program_that_fails(script: str, message: str) -> None:
    """It does not print the program's standard output, which may hold a token."""
    create("--exec-command", "sh", "--exec-arg=-c", "--exec-arg", script)

    result = run("kubeconfig", "check", str(PROD), "--probe", "--timeout", "0.5")

    assert result.exit_code == 1
    assert f"error: probe: exec: sh: {message}" in result.stderr
    assert "s3cret" not in result.output


@pytest.mark.parametrize(
    "options", [["--exec-command", "./absent"], ["--token-file", "absent"], ["--ca-file", "absent"]]
)
def test_the_probe_requires_the_files_that_the_kubeconfig_names(options: list[str]) -> None:
    """The check alone only warns of a missing file."""
    create(*options)

    result = run("kubeconfig", "check", str(PROD), "--probe")

    assert result.exit_code == 1
    assert "absent" in result.stderr
    assert "No such file or directory" in result.stderr


# gcloud


def test_the_gcloud_program_prints_an_exec_credential(tmp_path: Path) -> None:
    """It has gcloud's token for the server, and expires a minute before the token does."""
    claims = base64.urlsafe_b64encode(b'{"aud":"https://audit.example.com","exp":1795474800,"sub":"???>>>"}').rstrip(
        b"="
    )
    (tmp_path / "gcloud").write_text(f'#!/bin/sh\necho "$*" > {tmp_path}/asked\necho h.{claims.decode()}.s\n')
    (tmp_path / "gcloud").chmod(0o700)
    create("--gcloud-identity-token")
    program = written()[1]["exec"]

    ran = subprocess.run(
        [program["command"], *program["args"]],
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        check=True,
    )

    status = {"token": f"h.{claims.decode()}.s", "expirationTimestamp": "2026-11-23T22:59:00Z"}
    assert json.loads(ran.stdout) == {"apiVersion": EXEC_API_VERSION, "kind": "ExecCredential", "status": status}
    assert (tmp_path / "asked").read_text() == f"auth print-identity-token --audiences={SERVER}\n"


# from-list

LIST = f"""
- name: prod
  server: {SERVER}
- name: prod-metrics  # the aggregated apiserver of metrics
  server: {SERVER}
  tls-server-name: audit.internal
- name: edge
  server: https://edge.example.com
  token-file: /run/token
- name: local
  server: http://127.0.0.1:8888
  no-credentials: true
"""


def from_list(*options: str, text: str = LIST, **environ: str) -> Result:
    """Write the kubeconfigs of a list."""
    Path("clusters.yaml").write_text(text)
    return run("kubeconfig", "from-list", "clusters.yaml", *options, **environ)


def files() -> dict[str, str]:
    """Return the written texts by cluster."""
    return {path.stem: path.read_text() for path in Path("kubeconfigs").glob("*")}


@pytest.mark.parametrize(
    "command", [["kubeconfig", "check"], ["kubeconfig", "from-list"], ["check", "--kubeconfig"]], ids=" ".join
)
def test_a_yaml_bomb_in_a_file_is_refused(command: list[str]) -> None:
    """By every command that reads YAML, with the place of the first alias."""
    Path("bomb.yaml").write_text(ALIAS_BOMB)

    result = run(*command, "bomb.yaml", AUDIT_SINKS="memory:")

    assert result.exit_code != 0
    assert "line 2, column 10: not valid YAML (aliases are not accepted. Write the value out)" in result.stderr


def test_from_list_writes_all_kubeconfigs_and_prints_the_setting() -> None:
    """The setting has a hash for each token, and the function's settings accept it."""
    result = from_list(AUDIT_TOKENS=f"old=sha256:{1:064x}")

    setting = setting_in(result.stdout)
    settings = Settings.read({"AUDIT_TOKENS": setting})
    tokens = {entry.cluster: entry.sha256.hex() for entry in settings.tokens}
    assert result.exit_code == 0, result.output
    assert files().keys() == {"prod", "prod-metrics", "edge", "local"}
    assert tokens == {
        "old": f"{1:064x}",
        **{name: sha256(written(Path(f"kubeconfigs/{name}.yaml"))[1]["token"]) for name in ("prod", "prod-metrics")},
    }
    assert written(Path("kubeconfigs/prod-metrics.yaml"))[0]["tls-server-name"] == "audit.internal"


def test_a_second_run_keeps_the_tokens() -> None:
    """It changes no file, and adds the files of new entries."""
    first, before = from_list(), files()

    second = from_list()
    grown = from_list(text=f"{LIST}\n- name: new\n  server: {SERVER}\n")

    assert (second.exit_code, second.stdout) == (0, first.stdout)
    assert {name: text for name, text in files().items() if name != "new"} == before
    assert setting_in(grown.stdout).startswith(setting_in(first.stdout))
    assert len(setting_in(grown.stdout).split()) == 3


def test_a_changed_entry_requires_force_and_keeps_its_token() -> None:
    """Without ``--force`` no file is written, not even a new entry's."""
    first, before = from_list(), files()
    changed = LIST.replace("audit.internal", "audit.other")

    refused, unchanged = from_list(text=f"{changed}\n- name: new\n  server: {SERVER}\n"), files()
    forced = from_list("--force", text=changed)

    assert refused.exit_code == 2
    assert (
        "kubeconfigs/prod-metrics.yaml exists with a different content. Write --force to replace it" in refused.stderr
    )
    assert unchanged == before
    assert (forced.exit_code, forced.stdout) == (0, first.stdout)
    assert "audit.other" in files()["prod-metrics"]


def test_rotate_makes_new_tokens_and_keeps_the_old_hashes() -> None:
    """Old tokens stay valid until their hashes are removed."""
    first, before = from_list(), files()

    rotated = from_list("--rotate")

    old, both = setting_in(first.stdout).split(), setting_in(rotated.stdout).split()
    assert set(old) < set(both)
    assert len(both) == 4
    assert files()["prod"] != before["prod"]
    assert files()["edge"] == before["edge"]


def test_a_dry_run_of_a_list_prints_the_files() -> None:
    """It writes none of them."""
    result = from_list("--dry-run")

    assert (result.exit_code, result.stdout) == (0, "")
    assert "kubeconfigs/prod.yaml: not written" in result.stderr
    assert not Path("kubeconfigs").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "the list is empty"),
        ("name: prod", "expected a list, got a mapping"),
        ("- server: https://a", "missing required field `name`"),
        ("- {name: a, server: https://a, tokens: x}", "unknown field `tokens`"),
        ("- {name: a, server: https://a}\n- {name: a, server: https://b}", "a: two entries have this name"),
        ("- {name: A/b, server: https://a, basic: x}", "A/b: basic and password-from go together"),
        ("- {name: a, server: https://a, token-from: '-'}", "cannot share standard input"),
        ("- {name: a, server: https://a, token-from: absent}", "absent"),
        ("[", "not valid YAML"),
        (
            "- {name: a, server: https://a, token-from: t}\n- {name: b, server: https://b, token-from: t}",
            "another cluster's",
        ),
    ],
)
def test_a_list_with_a_mistake_is_refused(text: str, message: str) -> None:
    """Exit 2 with the mistake, and no file is written."""
    Path("t").write_text("a-token")

    result = from_list(text=text)

    assert result.exit_code == 2
    assert message in result.stderr
    assert not Path("kubeconfigs").exists()


def test_an_error_in_one_kubeconfig_prevents_all() -> None:
    """Exit 1 with the file's finding, and the good ones are not written either."""
    result = from_list(text=f"{LIST}\n- name: bad\n  server: http://a.example\n")

    assert result.exit_code == 1
    assert "error: kubeconfigs/bad.yaml: credentials-over-http: " in result.stderr
    assert not Path("kubeconfigs").exists()


def test_from_list_does_not_replace_a_file_that_is_not_a_kubeconfig() -> None:
    """Not even with ``--force``."""
    Path("kubeconfigs").mkdir()
    PROD.write_text("text")

    result = from_list("--force")

    assert result.exit_code == 2
    assert "this file is not a kubeconfig" in result.stderr


# check --kubeconfig


def checked(*options: str, **environ: str) -> Result:
    """Check prod's kubeconfig against the settings."""
    return run("check", "--kubeconfig", str(PROD), *options, **{"AUDIT_SINKS": "memory:", **environ})


def test_the_printed_setting_accepts_the_written_kubeconfig() -> None:
    """As its own cluster, and as no other."""
    setting = setting_in(create().stdout)

    good, other = checked("--cluster", "prod", AUDIT_TOKENS=setting), checked("--cluster", "test", AUDIT_TOKENS=setting)

    assert good.exit_code == 0, good.output
    assert good.stdout.endswith(f"{PROD}: accepted as the cluster prod\n")
    assert other.exit_code == 1
    assert "accepted as the cluster 'prod', not 'test'" in other.stderr


def test_a_token_file_is_read() -> None:
    """Without its last line break, as the apiserver reads it."""
    create("--token-file", "token")
    (PROD.parent / "token").write_text("a-token\n")

    result = checked(AUDIT_TOKENS=str(TokenHash.of("prod", "a-token")))

    assert result.exit_code == 0, result.output


@pytest.mark.parametrize(
    ("options", "tokens", "message"),
    [
        ([], f"prod=sha256:{1:064x}", "refused: this token is not known here"),
        (["--token-from", "token"], str(TokenHash.of("test", "a-token")), "this token is for the cluster 'test'"),
        ([], "", "refused: no tokens are configured"),
        (["--no-credentials"], f"prod=sha256:{1:064x}", "refused: expected 'Authorization: Bearer"),
        (["--basic", "a", "--password-from", "token"], f"prod=sha256:{1:064x}", "expected 'Authorization: Bearer"),
        (["--exec-command", "vault"], f"prod=sha256:{1:064x}", "is known only when the exec program runs"),
        (["--token-file", "absent"], f"prod=sha256:{1:064x}", "absent: No such file or directory"),
    ],
)
def test_a_sender_that_the_settings_refuse_is_reported(options: list[str], tokens: str, message: str) -> None:
    """Exit 1 with the function's own message, without the token."""
    Path("token").write_text("a-token")
    create(*options)

    result = checked(AUDIT_TOKENS=tokens)

    assert result.exit_code == 1
    assert message in result.stderr
    assert "a-token" not in result.output


def test_a_local_sender_is_accepted_without_tokens() -> None:
    """As the cluster in its path."""
    run("kubeconfig", "prod", "--server", "http://127.0.0.1:8888", "--no-credentials")

    result = checked()

    assert result.exit_code == 0, result.output
    assert result.stdout.endswith("accepted as the cluster prod\n")


def test_a_kubeconfig_with_an_error_is_refused() -> None:
    """kube-apiserver would not send anything with it."""
    create()
    PROD.write_text(PROD.read_text().replace("https", "http"))

    result = checked(AUDIT_TOKENS=f"prod=sha256:{1:064x}")

    assert result.exit_code == 1
    assert f"error: {PROD}: credentials-over-http: " in result.stderr


def test_the_option_cluster_requires_a_kubeconfig() -> None:
    """It is the cluster that the kubeconfig's sender must be accepted as."""
    assert run("check", "--cluster", "prod", AUDIT_SINKS="memory:").exit_code == 2


@pytest.mark.parametrize("command", [[], ["create"], ["check"], ["from-list"]])
def test_help_prints_the_usage(command: list[str]) -> None:
    """Of the group and of each of its commands."""
    result = run("kubeconfig", *command, "--help")

    assert result.exit_code == 0
    assert result.stdout.startswith("Usage: ")


@pytest.mark.parametrize(
    ("options", "source"), [(["--token-file", "/run/token"], "/run/token"), (["--exec-command", "/bin/p"], "/bin/p")]
)
def test_a_token_without_a_hash_in_the_settings_is_reported(options: list[str], source: str) -> None:
    """A file or program brings it. The report ends when the cluster has a hash in AUDIT_TOKENS."""
    hashed = f"prod=sha256:{1:064x}"
    fresh, known = create(*options), create(*options, "--force", AUDIT_TOKENS=hashed)
    Path("list.yaml").write_text(f"- {{name: edge, server: {SERVER}, {options[0][2:]}: {options[1]}}}\n")
    listed, dry = run("kubeconfig", "from-list", "list.yaml"), run("kubeconfig", "from-list", "list.yaml", "--dry-run")

    assert f"prod: the function accepts no token from {source} yet. 'auditsplit token prod'" in fresh.stderr
    assert f"edge: the function accepts no token from {source} yet. 'auditsplit token edge'" in listed.stderr
    assert not [result for result in (known, dry) if "accepts no token" in result.stderr]
    assert (fresh.exit_code, known.exit_code, listed.exit_code) == (0, 0, 0)
