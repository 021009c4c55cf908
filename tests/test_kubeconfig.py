"""The kubeconfig's format: written for Python's and Go's YAML libraries, read back, and redacted."""

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
from support.bombs import ALIAS_BOMB
from support.eventlists import PROPERTY

from auditsplit.cli import main
from auditsplit.webhook import rules
from auditsplit.webhook.kubeconfig import schema
from auditsplit.webhook.kubeconfig.schema import (
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

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "kubeconfigs"
_TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
_CLUSTERS = st.builds(Cluster, server=_TEXTS, tls_server_name=_TEXTS, insecure_skip_tls_verify=st.booleans())
_EXECS = st.builds(Exec, command=_TEXTS, args=st.lists(_TEXTS), env=st.lists(st.builds(Variable, _TEXTS, _TEXTS)))
_USERS = st.builds(User, token=_TEXTS, username=_TEXTS, token_file=_TEXTS, exec=st.none() | _EXECS)


@PROPERTY
@given(_CLUSTERS, st.none() | _USERS)
def test_a_written_kubeconfig_is_read_back(cluster: Cluster, user: User | None) -> None:
    """Any text survives, and the current context has the given cluster and user."""
    document = build(cluster, user)

    decoded = decode(parse(encode(document)))

    assert decoded == document
    assert (decoded.cluster, decoded.user) == (cluster, user or User())


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
def test_text_that_yaml_may_read_as_another_type_is_quoted(text: str) -> None:
    """Go's YAML has more booleans and numbers than Python's, and a token may look like one of them."""
    written = encode(build(Cluster(server="https://a"), User(token=text, username="plain")))

    if text:
        assert f'token: "{text}"\n' in written
    assert "username: plain\n" in written
    assert "server: https://a\n" in written


def test_a_programs_lines_stay_lines() -> None:
    """A script in exec's arguments is a YAML block, not one quoted line."""
    written = encode(build(Cluster(), User(exec=Exec(args=["set -eu\necho a\n"]))))

    assert "      - |\n        set -eu\n        echo a\n" in written


def test_without_credentials_there_is_no_user() -> None:
    """The context does not name a user either."""
    document = yaml.safe_load(encode(build(Cluster(server="http://localhost"), None)))

    assert document["users"] == []
    assert document["contexts"] == [{"name": "auditsplit", "context": {"cluster": "auditsplit"}}]


def test_the_current_context_selects_cluster_and_user() -> None:
    """A name that does not exist selects an empty cluster or user, as in the apiserver."""
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


def test_tokens_passwords_and_keys_are_redacted() -> None:
    """All other fields stay readable."""
    secrets = dict.fromkeys(("token", "password", "client_key_data"), "s3cret")
    user = msgspec.structs.replace(User(username="me", client_key="path"), **secrets)

    shown = encode(schema.redacted(build(Cluster(), user)))

    assert "s3cret" not in shown
    assert "username: me" in shown
    assert "client-key: path" in shown
    assert shown.count("(not shown)") == 3


@pytest.mark.parametrize("token", ["s3cret: x", "*s3cret", "!s3cret x", "[s3cret", "@s3cret", "'s3cret"])
def test_invalid_yaml_is_reported_with_its_line(token: str) -> None:
    """The message has the line and column, and does not quote the text, which may be a token."""
    with pytest.raises(ValueError, match=r"^line [23], column \d+: not valid YAML \(.+\)") as caught:
        parse(f"a: b\ntoken: {token}\n")

    assert "s3cret" not in str(caught.value)


def test_an_alias_is_refused_with_its_line() -> None:
    """The message says what to write, and does not quote the name."""
    with pytest.raises(ValueError, match=r"^line 2, column 4: not valid YAML \(aliases are not acc.* value out\)$"):
        parse("a: &s3cret 1\nb: *s3cret\n")


@pytest.mark.parametrize("text", [ALIAS_BOMB, "a: &a [*a]", "a: &a {<<: *a}", "[" * 20_000, "{a: " * 20_000])
def test_a_yaml_bomb_is_refused(text: str) -> None:
    """A small file that stands for a large or endless document is not expanded: that would not end."""
    with pytest.raises(ValueError, match=r"line|not valid YAML"):
        parse(text)


def test_the_receiver_does_not_import_apiserver_or_yaml() -> None:
    """Only the command line needs them, and importing them would slow a cold start."""
    script = (
        "import sys, auditsplit.serve.receiver; "
        "print([name for name in sys.modules if 'apiserver' in name or name == 'yaml'])"
    )

    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)

    assert ran.stdout == b"[]\n"


# kubeconfigs/


def test_the_readmes_commands_write_the_example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They write the example byte for byte, and its check finds no error."""
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
