"""A kubeconfig's format: what is written is read back, by Python's YAML and, as far as it differs, by Go's."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
import yaml
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from support.eventlists import PROPERTY

from auditsplit.apiserver import rules
from auditsplit.apiserver.kubeconfig import schema
from auditsplit.apiserver.kubeconfig.schema import (
    Cluster,
    Exec,
    Kubeconfig,
    User,
    Variable,
    build,
    decode,
    encode,
    parse,
)
from auditsplit.cli import main

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "kubeconfigs"
_TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
_CLUSTERS = st.builds(Cluster, server=_TEXTS, tls_server_name=_TEXTS, insecure_skip_tls_verify=st.booleans())
_EXECS = st.builds(Exec, command=_TEXTS, args=st.lists(_TEXTS), env=st.lists(st.builds(Variable, _TEXTS, _TEXTS)))
_USERS = st.builds(User, token=_TEXTS, username=_TEXTS, token_file=_TEXTS, exec=st.none() | _EXECS)


@PROPERTY
@given(_CLUSTERS, st.none() | _USERS)
def test_what_is_written_is_read_back(cluster: Cluster, user: User | None) -> None:
    """Whatever the strings hold, and the current context is what was given."""
    document = build(cluster, user)

    again = decode(parse(encode(document)))

    assert again == document
    assert (again.cluster, again.user) == (cluster, user or User())


@pytest.mark.parametrize(
    "text",
    [
        "y",
        "N",
        "yes",
        "off",
        "true",
        "null",
        "~",
        "1e5",
        "0o17",
        "0x1f",
        "1_000",
        ".inf",
        "2026-11-23",
        "",
        "-",
        "a: b",
    ],
)
def test_what_some_yaml_takes_for_no_text_is_quoted(text: str) -> None:
    """Go's YAML knows more booleans and numbers than Python's; a token may look like one."""
    written = encode(build(Cluster(server="https://a"), User(token=text, username="plain")))

    if text:
        assert f'token: "{text}"\n' in written
    assert "username: plain\n" in written
    assert "server: https://a\n" in written


def test_a_program_is_readable() -> None:
    """Several lines stay several lines."""
    written = encode(build(Cluster(), User(exec=Exec(args=["set -eu\necho a\n"]))))

    assert "      - |\n        set -eu\n        echo a\n" in written


def test_without_credentials_there_is_no_user() -> None:
    """The context then names none."""
    document = yaml.safe_load(encode(build(Cluster(server="http://localhost"), None)))

    assert document["users"] == []
    assert document["contexts"] == [{"name": "auditsplit", "context": {"cluster": "auditsplit"}}]


def test_the_current_context_is_what_counts() -> None:
    """Of several, by name; a missing one is empty, as for the apiserver."""
    document = decode(
        parse("""
        clusters: [{name: a, cluster: {server: https://a}}, {name: b, cluster: {server: https://b}}]
        contexts: [{name: a, context: {cluster: a, user: a}}, {name: b, context: {cluster: b, user: c}}]
        users: [{name: a, user: {token: x}}]
        current-context: b
        """)
    )

    assert document.cluster == Cluster(server="https://b")
    assert document.user == User()
    assert Kubeconfig().context is None


def test_redacted() -> None:
    """No secret is left, and everything else is."""
    secrets = dict.fromkeys(("token", "password", "client_key_data"), "s3cret")
    user = msgspec.structs.replace(User(username="me", client_key="path"), **secrets)

    shown = encode(schema.redacted(build(Cluster(), user)))

    assert "s3cret" not in shown
    assert "username: me" in shown
    assert "client-key: path" in shown
    assert shown.count("(not shown)") == 3


@pytest.mark.parametrize("token", ["s3cret: x", "*s3cret", "!s3cret x", "[s3cret", "@s3cret", "'s3cret"])
def test_a_broken_document_says_where(token: str) -> None:
    """With the line, and without what stands there."""
    with pytest.raises(ValueError, match=r"^line [23], column \d+: this is no YAML \(.+\)") as caught:
        parse(f"a: b\ntoken: {token}\n")

    assert "s3cret" not in str(caught.value)


def test_a_receiver_imports_nothing_of_it() -> None:
    """Nor YAML: a cold start has no time for what only the command line wants."""
    script = (
        "import sys, auditsplit.serve.receiver; "
        "print([name for name in sys.modules if 'apiserver' in name or name == 'yaml'])"
    )

    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)

    assert ran.stdout == b"[]\n"


# kubeconfigs/


def test_the_example_is_what_its_command_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The README's commands write the example's very bytes, and the check finds nothing."""
    text = (FOLDER / "README.md").read_text()
    token, command = re.findall(
        r"^printf '(\S+)' > token\n\S*auditsplit (kubeconfig (?:.*\\\n)*.*)$", text, re.MULTILINE
    )[0]
    (tmp_path / "token").write_text(token)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AUDIT_TOKENS", raising=False)

    result = CliRunner().invoke(main, shlex.split(command.replace("\\\n", " ")))

    assert result.exit_code == 0, result.output
    assert (tmp_path / "kubeconfigs/example.yaml").read_text() == (FOLDER / "example.yaml").read_text()
    assert {finding.rule for finding in rules.read(FOLDER / "example.yaml")[1]} <= {"readable", "absent-file"}
    assert "example" in token
