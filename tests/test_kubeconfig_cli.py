"""``auditsplit kubeconfig``: documents written, refused, checked; and held against the function's settings."""

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

from auditsplit.apiserver.kubeconfig.schema import EXEC_API_VERSION
from auditsplit.auth import TokenHash
from auditsplit.cli import main
from auditsplit.settings import Settings

SERVER = "https://audit.example.com"
PROD = Path("kubeconfigs/prod.yaml")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder of its own, with none of our settings."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("AUDIT_")]:
        monkeypatch.delenv(name)
    return tmp_path


def run(*arguments: str, stdin: str | bytes | None = None, **environ: str) -> Result:
    """Run the command; an exception but its own exit is the test's failure."""
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
    """Return the value of the AUDIT_TOKENS that was told."""
    [value] = re.findall(r"^AUDIT_TOKENS='(.*)'$", text, re.MULTILINE)
    return str(value)


def sha256(token: str) -> str:
    """Return a token's hash, made as anybody would."""
    return hashlib.sha256(token.encode()).hexdigest()


# create


def test_a_token_is_made_and_its_setting_told() -> None:
    """The file is its owner's alone; what lets it in goes to standard error, the token nowhere else."""
    result = create()

    cluster, user = written()
    assert result.exit_code == 0
    assert result.stdout == ""
    assert cluster == {"server": f"{SERVER}/clusters/prod"}
    assert len(user["token"]) >= 43
    assert setting_in(result.stderr) == f"prod=sha256:{sha256(user['token'])}"
    assert user["token"] not in result.output
    assert stat.S_IMODE(PROD.stat().st_mode) == 0o600


def test_the_setting_keeps_what_is_configured() -> None:
    """So that another cluster's token stays good."""
    known = f"test=sha256:{1:064x}"

    result = create(AUDIT_TOKENS=known)

    assert setting_in(result.stderr).split()[0] == known
    assert len(setting_in(result.stderr).split()) == 2


def test_standard_output_has_the_document_alone() -> None:
    """``-`` writes no file."""
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
def test_a_first_word_that_is_no_command_is_a_cluster(arguments: list[str], cluster: str) -> None:
    """Only a cluster with a command's name wants ``create`` before it."""
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
def test_the_path_names_the_cluster_where_there_is_none(server: str, posted: str) -> None:
    """A path that is given stays."""
    run("kubeconfig", "prod", "--server", server)

    assert written()[0]["server"] == posted


def test_every_kind_of_credentials(folder: Path) -> None:
    """Each option comes to its fields, and to no setting where there is no token to hash."""
    leaf = trustme.CA().issue_cert("a.example")
    pem = {
        "tls.crt": leaf.cert_chain_pems[0].bytes(),
        "tls.key": leaf.private_key_pem.bytes(),
        "word": b"pass word\r\n",
    }
    for name, content in pem.items():
        (folder / name).write_bytes(content)
        (folder / "kubeconfigs").mkdir(exist_ok=True)
        (folder / "kubeconfigs" / name).write_bytes(content)
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
def test_a_token_from_a_file_or_standard_input(folder: Path, ending: str) -> None:
    """An editor's line break at the end is no part of it."""
    (folder / "token").write_text(f"a-token{ending}")

    results = [
        create("--token-from", "token"),
        run("kubeconfig", "test", "--server", SERVER, "--token-from", "-", stdin=f"a-token{ending}"),
    ]

    assert [result.exit_code for result in results] == [0, 0]
    assert written()[1] == written(Path("kubeconfigs/test.yaml"))[1] == {"token": "a-token"}
    assert setting_in(results[1].stderr) == f"test=sha256:{sha256('a-token')}"


def test_the_servers_trust(folder: Path) -> None:
    """CA as path or data, the name, the proxy, or none of it checked."""
    ca = trustme.CA().cert_pem.bytes()
    (folder / "ca.pem").write_bytes(ca)
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


def test_never_over_another_file_without_force() -> None:
    """The file stays, and so does its token."""
    create()
    before = PROD.read_text()

    refused, forced = create(), create("--force")

    assert refused.exit_code == 2
    assert "is there already; --force replaces it" in refused.stderr
    assert forced.exit_code == 0
    assert PROD.read_text() != before


def test_dry_run_shows_and_writes_nothing() -> None:
    """Nor does it show a secret, or a setting for a token that is thrown away."""
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
def test_what_the_apiserver_would_get_wrong_is_not_written(options: list[str], rule: str, folder: Path) -> None:
    """By the very rules of the check: exit 1, the reason, and no file."""
    (folder / "two-lines").write_text("s3cret\nb\n")
    (folder / "not-utf-8").write_bytes(b"s3cret\xff")

    result = create(*options)

    assert result.exit_code == 1
    assert f"error: {rule}: " in result.stderr
    assert "s3cret" not in result.output
    assert not PROD.exists()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--token-file", "a", "--no-credentials"], "token-file and no-credentials: choose one"),
        (["--basic", "a"], "basic and password-from go together"),
        (["--password-from", "a"], "basic and password-from go together"),
        (["--client-key", "a"], "client-certificate and client-key go together"),
        (["--embed"], "embed wants client-certificate"),
        (["--exec-arg", "a"], "exec-arg wants exec-command"),
        (["--exec-command", "a", "--exec-env", "a"], "expected NAME=VALUE"),
        (["--ca-file", "a", "--ca-data-from", "b"], "ca-file and ca-data-from: choose one"),
        (["--token-from", "absent"], "absent"),
        (["--token-from", "empty"], "there is no secret in it"),
        (["--output", "taken"], "is there already"),
    ],
)
def test_misuse(options: list[str], told: str, folder: Path) -> None:
    """Options that don't go together, and files that can't be read: exit 2."""
    (folder / "empty").touch()
    (folder / "taken").touch()

    result = create(*options)

    assert result.exit_code == 2
    assert told in result.stderr
    assert not PROD.exists()


@pytest.mark.parametrize("cluster", ["Prod", "a/b", "..", "a" * 64])
def test_no_cluster(cluster: str) -> None:
    """A name that no cluster can have becomes no path."""
    result = run("kubeconfig", cluster, "--server", SERVER)

    assert result.exit_code == 2
    assert "is no cluster name" in result.stderr
    assert not PROD.parent.exists()


def test_a_place_that_cant_be_written(folder: Path) -> None:
    """It is told with the reason."""
    (folder / "kubeconfigs").write_text("a file")

    result = create()

    assert result.exit_code == 1
    assert "kubeconfigs/prod.yaml: " in result.stderr


def test_a_token_is_for_one_cluster(folder: Path) -> None:
    """Another cluster's token, as the settings have it, is misuse: they would refuse it."""
    (folder / "token").write_text("a-token")

    result = create("--token-from", "token", AUDIT_TOKENS=str(TokenHash.of("test", "a-token")))

    assert result.exit_code == 2
    assert "is another cluster's too" in result.stderr
    assert not PROD.exists()


@pytest.mark.parametrize("command", [["kubeconfig", "prod", "--server", SERVER], ["token", "prod"]])
def test_broken_settings_are_told_before_anything_is_made(command: list[str]) -> None:
    """Which entry is wrong, without what it holds."""
    good = f"test=sha256:{1:064x}"

    result = run(*command, AUDIT_TOKENS=f"{good} prod=s3cret")

    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("AUDIT_TOKENS: entry 2: expected <cluster>=sha256:")
    assert "s3cret" not in result.output
    assert not PROD.exists()


# check


def test_check_says_what_it_is() -> None:
    """A good file: where to and with what, exit 0."""
    create()

    result = run("kubeconfig", "check", str(PROD))

    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == f"{PROD}: posts to {SERVER}/clusters/prod with a token\n"


def test_check_says_all_that_is_wrong() -> None:
    """Errors exit 1; a probe that would mean nothing isn't made."""
    create()
    PROD.write_text(
        PROD.read_text().replace("https", "http").replace("current-context: auditsplit", "current-context: x")
    )

    result = run("kubeconfig", "check", str(PROD), "--probe")

    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.startswith("error: unknown-context: ")


def test_warnings_leave_0() -> None:
    """They are told all the same."""
    run("kubeconfig", "prod", "--server", "https://auditsplit.audit.svc")

    result = run("kubeconfig", "check", str(PROD))

    assert result.exit_code == 0
    assert result.stderr.startswith("warning: cluster-dns: ")


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        (["--no-credentials"], "no credentials"),
        (["--token-file", "/run/token"], "a token from a file"),
        (["--exec-command", "vault"], "what a program prints"),
    ],
)
def test_check_names_the_kind_of_credentials(options: list[str], kind: str) -> None:
    """So that a missing user is seen."""
    create(*options)

    assert run("kubeconfig", "check", str(PROD)).stdout.endswith(f" with {kind}\n")


@pytest.mark.parametrize(
    ("name", "content"), [("absent", None), ("text", b"text"), ("binary", b"\xff\xfe"), (".", None)]
)
def test_what_cant_be_checked(name: str, content: bytes | None) -> None:
    """An unreadable file is misuse, told with its name and without a stack trace."""
    if content is not None:
        Path(name).write_bytes(content)

    results = [run("kubeconfig", "check", name), run("check", "--kubeconfig", name, AUDIT_SINKS="memory:")]

    for result in results:
        assert result.exit_code == 2
        assert result.stderr.startswith(f"{name}: ")


@pytest.mark.parametrize(
    ("script", "told"),
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
        ("exec sleep 5", "no end after 0.5 s"),
    ],
)
def test_a_program_that_fails(script: str, told: str) -> None:
    """The probe tells how, and never what it printed."""
    create("--exec-command", "sh", "--exec-arg=-c", "--exec-arg", script)

    result = run("kubeconfig", "check", str(PROD), "--probe", "--timeout", "0.5")

    assert result.exit_code == 1
    assert f"error: probe: exec: sh: {told}" in result.stderr
    assert "s3cret" not in result.output


@pytest.mark.parametrize(
    "options", [["--exec-command", "./absent"], ["--token-file", "absent"], ["--ca-file", "absent"]]
)
def test_a_file_that_is_not_here(options: list[str]) -> None:
    """The check warns of it or lets it be, the probe can't go on without it."""
    create(*options)

    result = run("kubeconfig", "check", str(PROD), "--probe")

    assert result.exit_code == 1
    assert "absent" in result.stderr
    assert "No such file or directory" in result.stderr


# gcloud


def test_gclouds_identity_token(folder: Path) -> None:
    """The program prints what the protocol wants: gcloud's token for the server, good until a minute before its end."""
    claims = base64.urlsafe_b64encode(b'{"aud":"https://audit.example.com","exp":1795474800,"sub":"???>>>"}').rstrip(
        b"="
    )
    (folder / "gcloud").write_text(f'#!/bin/sh\necho "$*" > {folder}/asked\necho h.{claims.decode()}.s\n')
    (folder / "gcloud").chmod(0o700)
    create("--gcloud-identity-token")
    program = written()[1]["exec"]

    ran = subprocess.run(
        [program["command"], *program["args"]],
        env={"PATH": f"{folder}:{os.environ['PATH']}"},
        capture_output=True,
        check=True,
    )

    status = {"token": f"h.{claims.decode()}.s", "expirationTimestamp": "2026-11-23T22:59:00Z"}
    assert json.loads(ran.stdout) == {"apiVersion": EXEC_API_VERSION, "kind": "ExecCredential", "status": status}
    assert (folder / "asked").read_text() == f"auth print-identity-token --audiences={SERVER}\n"


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
    """Return what is in the folder."""
    return {path.stem: path.read_text() for path in Path("kubeconfigs").glob("*")}


def test_a_list_gives_all_kubeconfigs_and_the_setting() -> None:
    """The setting has a hash for each token, and the function's settings take it."""
    result = from_list(AUDIT_TOKENS=f"old=sha256:{1:064x}")

    setting = setting_in(result.stdout)
    tokens = {entry.cluster: entry.sha256.hex() for entry in Settings.read({"AUDIT_TOKENS": setting}).tokens}
    assert result.exit_code == 0, result.output
    assert files().keys() == {"prod", "prod-metrics", "edge", "local"}
    assert tokens == {
        "old": f"{1:064x}",
        **{name: sha256(written(Path(f"kubeconfigs/{name}.yaml"))[1]["token"]) for name in ("prod", "prod-metrics")},
    }
    assert written(Path("kubeconfigs/prod-metrics.yaml"))[0]["tls-server-name"] == "audit.internal"


def test_a_second_run_keeps_the_tokens() -> None:
    """And changes nothing; a new entry is put to them."""
    first, before = from_list(), files()

    again = from_list()
    grown = from_list(text=f"{LIST}\n- name: new\n  server: {SERVER}\n")

    assert (again.exit_code, again.stdout) == (0, first.stdout)
    assert {name: text for name, text in files().items() if name != "new"} == before
    assert setting_in(grown.stdout).startswith(setting_in(first.stdout))
    assert len(setting_in(grown.stdout).split()) == 3


def test_a_changed_entry_wants_force_and_keeps_its_token() -> None:
    """Without it nothing at all is written."""
    first, before = from_list(), files()
    changed = LIST.replace("audit.internal", "audit.other")

    refused, unchanged = from_list(text=f"{changed}\n- name: new\n  server: {SERVER}\n"), files()
    forced = from_list("--force", text=changed)

    assert refused.exit_code == 2
    assert "kubeconfigs/prod-metrics.yaml says something else; --force replaces it" in refused.stderr
    assert unchanged == before
    assert (forced.exit_code, forced.stdout) == (0, first.stdout)
    assert "audit.other" in files()["prod-metrics"]


def test_rotate_makes_new_tokens_and_lets_both_in() -> None:
    """The old ones stay good until they are taken out."""
    first, before = from_list(), files()

    rotated = from_list("--rotate")

    old, both = setting_in(first.stdout).split(), setting_in(rotated.stdout).split()
    assert set(old) < set(both)
    assert len(both) == 4
    assert files()["prod"] != before["prod"]
    assert files()["edge"] == before["edge"]


def test_a_lists_dry_run() -> None:
    """It names the files, and makes none."""
    result = from_list("--dry-run")

    assert (result.exit_code, result.stdout) == (0, "")
    assert "kubeconfigs/prod.yaml: not written" in result.stderr
    assert not Path("kubeconfigs").exists()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[]", "the list is empty"),
        ("name: prod", "Expected `array`"),
        ("- server: https://a", "missing required field `name`"),
        ("- {name: a, server: https://a, tokens: x}", "unknown field `tokens`"),
        ("- {name: a, server: https://a}\n- {name: a, server: https://b}", "a: there are two of this name"),
        ("- {name: A/b, server: https://a, basic: x}", "A/b: basic and password-from go together"),
        ("- {name: a, server: https://a, token-from: '-'}", "standard input can't be shared"),
        ("- {name: a, server: https://a, token-from: absent}", "absent"),
        ("[", "this is no YAML"),
        (
            "- {name: a, server: https://a, token-from: t}\n- {name: b, server: https://b, token-from: t}",
            "another cluster's",
        ),
    ],
)
def test_a_list_that_is_wrong(text: str, told: str) -> None:
    """Exit 2, with what to mend, and nothing written."""
    Path("t").write_text("a-token")

    result = from_list(text=text)

    assert result.exit_code == 2
    assert told in result.stderr
    assert not Path("kubeconfigs").exists()


def test_a_list_that_the_apiserver_would_get_wrong() -> None:
    """All of its findings, by file; and none of its files, the good ones neither."""
    result = from_list(text=f"{LIST}\n- name: bad\n  server: http://a.example\n")

    assert result.exit_code == 1
    assert "kubeconfigs/bad.yaml: error: credentials-over-http: " in result.stderr
    assert not Path("kubeconfigs").exists()


def test_a_list_beside_a_file_that_is_no_kubeconfig() -> None:
    """It isn't replaced unseen."""
    Path("kubeconfigs").mkdir()
    PROD.write_text("text")

    result = from_list("--force")

    assert result.exit_code == 2
    assert "this is no kubeconfig" in result.stderr


# check --kubeconfig


def checked(*options: str, **environ: str) -> Result:
    """Hold prod's kubeconfig against the settings."""
    return run("check", "--kubeconfig", str(PROD), *options, **{"AUDIT_SINKS": "memory:", **environ})


def test_the_settings_let_in_what_was_written() -> None:
    """As its own cluster, and as no other."""
    setting = setting_in(create().stderr)

    good, other = checked("--cluster", "prod", AUDIT_TOKENS=setting), checked("--cluster", "test", AUDIT_TOKENS=setting)

    assert good.exit_code == 0, good.output
    assert good.stdout.endswith(f"{PROD}: let in as the cluster prod\n")
    assert other.exit_code == 1
    assert "let in as the cluster 'prod', not 'test'" in other.stderr


def test_a_token_file_is_read() -> None:
    """As the apiserver reads it, without the line break."""
    create("--token-file", "token")
    (PROD.parent / "token").write_text("a-token\n")

    result = checked(AUDIT_TOKENS=str(TokenHash.of("prod", "a-token")))

    assert result.exit_code == 0, result.output


@pytest.mark.parametrize(
    ("options", "tokens", "told"),
    [
        ([], f"prod=sha256:{1:064x}", "not let in: this token is not known here"),
        (["--token-from", "token"], str(TokenHash.of("test", "a-token")), "this token is for the cluster 'test'"),
        ([], "", "not let in: no tokens are configured"),
        (["--no-credentials"], f"prod=sha256:{1:064x}", "not let in: expected 'Authorization: Bearer"),
        (["--basic", "a", "--password-from", "token"], f"prod=sha256:{1:064x}", "expected 'Authorization: Bearer"),
        (["--exec-command", "vault"], f"prod=sha256:{1:064x}", "is known when it runs"),
        (["--token-file", "absent"], f"prod=sha256:{1:064x}", "absent: No such file or directory"),
    ],
)
def test_what_the_settings_dont_let_in(options: list[str], tokens: str, told: str) -> None:
    """Exit 1, with what the function itself would say; the token is not shown."""
    Path("token").write_text("a-token")
    create(*options)

    result = checked(AUDIT_TOKENS=tokens)

    assert result.exit_code == 1
    assert told in result.stderr
    assert "a-token" not in result.output


def test_on_the_functions_own_machine() -> None:
    """Without tokens a local sender is let in, as the cluster in its path."""
    run("kubeconfig", "prod", "--server", "http://127.0.0.1:8888", "--no-credentials")

    result = checked()

    assert result.exit_code == 0, result.output
    assert result.stdout.endswith("let in as the cluster prod\n")


def test_a_kubeconfig_with_an_error_is_not_let_in() -> None:
    """Since the apiserver would not get as far."""
    create()
    PROD.write_text(PROD.read_text().replace("https", "http"))

    result = checked(AUDIT_TOKENS=f"prod=sha256:{1:064x}")

    assert result.exit_code == 1
    assert "error: credentials-over-http: " in result.stderr


def test_a_cluster_wants_a_kubeconfig() -> None:
    """Alone it means nothing."""
    assert run("check", "--cluster", "prod", AUDIT_SINKS="memory:").exit_code == 2


@pytest.mark.parametrize("command", [[], ["create"], ["check"], ["from-list"]])
def test_help(command: list[str]) -> None:
    """Every command explains itself."""
    result = run("kubeconfig", *command, "--help")

    assert result.exit_code == 0
    assert result.stdout.startswith("Usage: ")


@pytest.mark.parametrize(
    ("options", "source"), [(["--token-file", "/run/token"], "/run/token"), (["--exec-command", "/bin/p"], "/bin/p")]
)
def test_a_token_from_elsewhere_has_to_be_let_in(options: list[str], source: str) -> None:
    """What the apiserver will read or run is in no setting yet; said until the cluster has a token there."""
    hashed = f"prod=sha256:{1:064x}"
    fresh, known = create(*options), create(*options, "--force", AUDIT_TOKENS=hashed)
    Path("list.yaml").write_text(f"- {{name: edge, server: {SERVER}, {options[0][2:]}: {options[1]}}}\n")
    listed, dry = run("kubeconfig", "from-list", "list.yaml"), run("kubeconfig", "from-list", "list.yaml", "--dry-run")

    assert f"prod: the function lets in no token of {source} yet; 'auditsplit token prod'" in fresh.stderr
    assert f"edge: the function lets in no token of {source} yet; 'auditsplit token edge'" in listed.stderr
    assert not [told for told in (known, dry) if "lets in no token" in told.stderr]
    assert (fresh.exit_code, known.exit_code, listed.exit_code) == (0, 0, 0)
