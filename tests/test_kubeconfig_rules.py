"""The rules: each fault is found alone, with its reason, and nothing that kube-apiserver refuses passes.

``REFUSED`` and ``TAKEN`` are what k8s.io/apiserver v0.37.2 did with these documents when a Go program called its
``webhook.LoadKubeconfig`` and ``NewGenericWebhook`` on them.
"""

from __future__ import annotations

import base64
import copy
import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest
import trustme

from auditsplit.webhook import rules
from auditsplit.webhook.kubeconfig.schema import EXEC_API_VERSION
from auditsplit.webhook.rules import ERROR, RULES, WARNING

REFUSED, TAKEN = "refused", "taken"
LONG = "a-token-that-is-long-enough"
_AUTHORITY = trustme.CA()
_LEAF, _OTHER = _AUTHORITY.issue_cert("a.example"), _AUTHORITY.issue_cert("b.example")
FILES = {
    "ca.pem": _AUTHORITY.cert_pem.bytes(),
    "tls.crt": _LEAF.cert_chain_pems[0].bytes(),
    "tls.key": _LEAF.private_key_pem.bytes(),
    "other.key": _OTHER.private_key_pem.bytes(),
    "token": f"{LONG}\n".encode(),
    "two-lines": b"a\nb\n",
    "empty": b"",
}
PAIR = {"client-certificate": "tls.crt", "client-key": "tls.key"}
EXEC = {"apiVersion": EXEC_API_VERSION, "command": "plugin", "interactiveMode": "Never"}
HTTP, LOCAL = "http://audit.example.com", "http://127.0.0.1:8888"


def data(name: str) -> str:
    """Return a file's content in base64, as in a kubeconfig."""
    return base64.b64encode(FILES[name]).decode()


class Case(NamedTuple):
    """The parts in which a document differs from a good document, and what kube-apiserver does with it."""

    apiserver: str
    cluster: Mapping[str, Any] = MappingProxyType({})
    user: dict[str, Any] | None = None
    top: Mapping[str, Any] = MappingProxyType({})

    def document(self) -> dict[str, Any]:
        """Return the whole document."""
        return copy.deepcopy(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": "a", "cluster": {"server": "https://audit.example.com", **self.cluster}}],
                "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
                "current-context": "a",
                "users": [{"name": "a", "user": {"token": LONG} if self.user is None else self.user}],
                **self.top,
            }
        )


def context(cluster: str, user: str) -> dict[str, Any]:
    """Return the part of a document with a context that names this cluster and user."""
    return {"contexts": [{"name": "a", "context": {"cluster": cluster, "user": user}}]}


def execs(**other: Any) -> dict[str, Any]:
    """Return a user whose program differs from a good program in these fields."""
    return {"exec": {**EXEC, **other}}


ERRORS = [
    ("kind", Case(REFUSED, top={"kind": "Secret"})),
    ("kind", Case(REFUSED, top={"apiVersion": "v2"})),
    ("no-current-context", Case(REFUSED, top={"current-context": ""})),
    ("unknown-context", Case(REFUSED, top={"current-context": "b"})),
    ("unknown-cluster", Case(REFUSED, top=context("b", "a"))),
    ("unknown-cluster", Case(REFUSED, {"server": ""})),
    ("unknown-user", Case(TAKEN, top=context("a", "b"))),
    ("same-clusters", Case(REFUSED, top={"clusters": [{"name": "a", "cluster": {"server": "https://a"}}] * 2})),
    ("same-contexts", Case(REFUSED, top={"contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}] * 2})),
    ("same-users", Case(REFUSED, top={"users": [{"name": "a", "user": {"token": "a"}}] * 2})),
    ("type", Case(REFUSED, user={"token": 123})),
    ("type", Case(REFUSED, {"insecure-skip-tls-verify": "true"})),
    ("unknown-field", Case(TAKEN, user={"token-file": "token"})),
    ("unknown-field", Case(TAKEN, user={"Token": "a-token"})),
    ("server-url", Case(TAKEN, {"server": "audit.example.com:443"})),
    ("server-url", Case(TAKEN, {"server": "ftp://audit.example.com"})),
    ("server-url", Case(REFUSED, {"server": "https://audit. example.com"})),
    ("server-url", Case(REFUSED, {"server": "https://audit.example.com\n"})),
    ("server-url", Case(REFUSED, {"server": "https://audit.example.com:http"})),
    ("server-query", Case(TAKEN, {"server": "https://audit.example.com?token=x"})),
    ("server-query", Case(TAKEN, {"server": "https://audit.example.com/clusters/a#x"})),
    ("server-password", Case(TAKEN, {"server": "https://user:password@audit.example.com"})),
    ("server-redirects", Case(TAKEN, {"server": "http://audit-x.a.run.app"}, {})),
    ("server-cluster", Case(TAKEN, {"server": "https://audit.example.com/clusters/Prod"})),
    ("server-cluster", Case(TAKEN, {"server": "https://audit.example.com/clusters/"})),
    ("proxy-url", Case(REFUSED, {"proxy-url": "ftp://proxy.example.com"})),
    ("insecure-with-ca", Case(REFUSED, {"insecure-skip-tls-verify": True, "certificate-authority": "ca.pem"})),
    ("two-cas", Case(REFUSED, {"certificate-authority": "ca.pem", "certificate-authority-data": data("ca.pem")})),
    ("no-ca", Case(REFUSED, {"certificate-authority-data": data("token")})),
    ("no-ca", Case(REFUSED, {"certificate-authority-data": "***"})),
    ("no-ca", Case(TAKEN, {"certificate-authority": "empty"})),
    ("credentials-over-http", Case(TAKEN, {"server": LOCAL})),
    ("credentials-over-http", Case(TAKEN, {"server": LOCAL}, {"tokenFile": "token"})),
    ("credentials-over-http", Case(TAKEN, {"server": LOCAL}, {"username": "a", "password": "b"})),
    ("credentials-over-http", Case(TAKEN, {"server": LOCAL}, PAIR)),
    ("credentials-over-http", Case(TAKEN, {"server": LOCAL}, execs())),
    ("token-and-basic", Case(REFUSED, user={"token": "a", "username": "b", "password": "c"})),
    ("token-and-basic", Case(REFUSED, user={"tokenFile": "token", "username": "b", "password": "c"})),
    ("two-tokens", Case(TAKEN, user={"token": "a", "tokenFile": "token"})),
    ("exec-ignored", Case(TAKEN, user={"token": "a", **execs()})),
    ("exec-ignored", Case(TAKEN, user={**PAIR, **execs()})),
    ("token-characters", Case(TAKEN, user={"token": "a-token\n"})),
    ("token-characters", Case(TAKEN, user={"token": "a\nb"})),
    ("token-characters", Case(TAKEN, user={"token": "Bearer a-token"})),
    ("token-file-content", Case(TAKEN, user={"tokenFile": "two-lines"})),
    ("token-file-content", Case(REFUSED, user={"tokenFile": "empty"})),
    ("basic-colon", Case(TAKEN, user={"username": "a:b", "password": "c"})),
    ("half-certificate", Case(REFUSED, user={"client-certificate": "tls.crt"})),
    ("half-certificate", Case(TAKEN, user={"client-key": "tls.key"})),
    ("two-certificates", Case(REFUSED, user={**PAIR, "client-certificate-data": data("tls.crt")})),
    ("certificate-pair", Case(TAKEN, user={**PAIR, "client-key": "other.key"})),
    (
        "certificate-pair",
        Case(REFUSED, user={"client-certificate-data": data("tls.crt"), "client-key-data": data("other.key")}),
    ),
    ("auth-provider", Case(REFUSED, user={"auth-provider": {"name": "gcp"}})),
    ("impersonation", Case(REFUSED, user={"token": "a", "as-uid": "b"})),
    ("impersonation", Case(TAKEN, user={"token": "a", "as": "b"})),
    ("exec-command", Case(REFUSED, user=execs(command=""))),
    ("exec-version", Case(REFUSED, user=execs(apiVersion="client.authentication.k8s.io/v1alpha1"))),
    ("exec-version", Case(REFUSED, user=execs(apiVersion=""))),
    ("exec-version", Case(TAKEN, user=execs(apiVersion="client.authentication.k8s.io/v1beta1"))),
    ("exec-interactive", Case(REFUSED, user=execs(interactiveMode=""))),
    ("exec-interactive", Case(REFUSED, user=execs(interactiveMode="never"))),
    ("exec-interactive", Case(TAKEN, user=execs(interactiveMode="Always"))),
    ("exec-variable", Case(REFUSED, user=execs(env=[{"value": "x"}]))),
]
WARNINGS = [
    ("no-credentials", Case(TAKEN, top=context("a", ""))),
    ("no-credentials", Case(TAKEN, user={"token": None})),
    ("server-path", Case(TAKEN, {"server": "https://audit.example.com/audit"})),
    ("short-token", Case(TAKEN, user={"token": "x" * 21})),
    ("cluster-dns", Case(TAKEN, {"server": "https://auditsplit.audit.svc"})),
    ("cluster-dns", Case(TAKEN, {"server": "https://auditsplit.audit.svc.cluster.local.:8443"})),
    ("plain-http", Case(TAKEN, {"server": HTTP}, {})),
    ("insecure", Case(TAKEN, {"insecure-skip-tls-verify": True})),
    ("tls-over-http", Case(TAKEN, {"server": LOCAL, "certificate-authority": "ca.pem"}, {})),
    ("absent-file", Case(REFUSED, {"certificate-authority": "absent.pem"})),
    ("absent-file", Case(REFUSED, user={"tokenFile": "absent"})),
    ("not-bearer", Case(TAKEN, user=PAIR)),
    ("not-bearer", Case(TAKEN, user={"username": "a", "password": "b"})),
    ("exec-image", Case(TAKEN, user=execs())),
    ("unknown-field", Case(TAKEN, {"zzz": 1})),
]
GOOD = [
    Case(TAKEN),
    Case(TAKEN, top={"kind": None, "apiVersion": None, "preferences": {}}),
    Case(TAKEN, {"server": "https://audit.example.com/clusters/prod"}),
    Case(TAKEN, {"server": LOCAL}, {}),
    Case(TAKEN, {"server": "http://localhost:8888/clusters/prod"}, {}),
    Case(TAKEN, {"certificate-authority": "ca.pem", "tls-server-name": "a.example"}),
    Case(TAKEN, {"certificate-authority-data": data("ca.pem")[:60] + "\n" + data("ca.pem")[60:]}),
    Case(TAKEN, {"proxy-url": "socks5://proxy.example.com"}),
    Case(TAKEN, user={"tokenFile": "token"}),
    Case(TAKEN, user={"token": LONG, "exec": None}),
    Case(TAKEN, user={"token": LONG, **PAIR}),
    Case(TAKEN, user={"token": LONG, "client-certificate": "tls.crt", "client-key-data": data("tls.key")}),
]
ALONGSIDE = {"no-credentials", "not-bearer", "exec-image", "plain-http", "insecure", "server-path", "short-token"}
"""Warnings that may accompany another fault."""


def write_files(folder: Path) -> None:
    """Write the files that documents name, except those that a test wrote before."""
    for name, content in FILES.items():
        if not (folder / name).exists():
            (folder / name).write_bytes(content)


def findings_for(case: Case, folder: Path) -> dict[str, rules.Finding]:
    """Return the findings about a document in ``folder``, by rule."""
    write_files(folder)
    path = folder / "k.yaml"
    path.write_text(json.dumps(case.document()))
    path.chmod(0o600)
    return {finding.rule: finding for finding in rules.read(path)[1]}


@pytest.mark.parametrize(("rule", "case"), ERRORS, ids=[f"{rule}-{number}" for number, (rule, _) in enumerate(ERRORS)])
def test_each_error_is_found_alone(rule: str, case: Case, tmp_path: Path) -> None:
    """No other error is found, and the reason says if kube-apiserver does not start."""
    findings = findings_for(case, tmp_path)

    assert findings[rule].level == ERROR
    assert {name for name, finding in findings.items() if finding.level == ERROR} == {rule}
    assert findings.keys() - {rule} <= ALONGSIDE
    if case.apiserver == REFUSED:
        assert "does not start" in findings[rule].reason


@pytest.mark.parametrize(("rule", "case"), WARNINGS, ids=[f"{rule}-{n}" for n, (rule, _) in enumerate(WARNINGS)])
def test_each_warning_is_found_without_an_error(rule: str, case: Case, tmp_path: Path) -> None:
    """Its level is warning, and only unavoidable warnings accompany it."""
    findings = findings_for(case, tmp_path)

    assert findings[rule].level == WARNING
    assert {finding.level for finding in findings.values()} == {WARNING}
    assert findings.keys() - {rule} <= ALONGSIDE


@pytest.mark.parametrize("case", GOOD, ids=range(len(GOOD)))
def test_a_good_document_has_no_findings(case: Case, tmp_path: Path) -> None:
    """Correct fields of every kind cause neither an error nor a warning."""
    assert findings_for(case, tmp_path) == {}


def test_every_rule_has_a_case() -> None:
    """Each rule's name is unique and occurs in the tables above or in a test below."""
    names = [rule.name for rule in RULES]

    assert len(set(names)) == len(names)
    assert set(names) | {"type", "unknown-field"} == {rule for rule, _ in (*ERRORS, *WARNINGS)} | {"empty", "readable"}


@pytest.mark.parametrize("text", ["", "{}", "# nothing\n", "apiVersion: v1\nkind: Config\n", "null"])
def test_an_empty_file_is_an_error(text: str, tmp_path: Path) -> None:
    """kube-apiserver refuses it when it starts."""
    (tmp_path / "k.yaml").write_text(text)

    findings = rules.read(tmp_path / "k.yaml")[1]

    assert [finding.rule for finding in findings] == ["empty", "no-current-context"]


@pytest.mark.parametrize("text", ["[", "- a", "text", "a: b: c", "\t", "[" * 2000, "--- a\n--- b", "a: !!python/x y"])
def test_a_file_that_is_not_a_mapping_is_refused(text: str, tmp_path: Path) -> None:
    """The rules can only check a mapping in YAML."""
    (tmp_path / "k.yaml").write_text(text)

    with pytest.raises(ValueError, match=r"not valid YAML|not a kubeconfig"):
        rules.read(tmp_path / "k.yaml")


@pytest.mark.parametrize(("size", "warned"), [(1, True), (21, True), (22, False), (43, False)])
def test_a_token_of_under_128_bits_is_a_warning(size: int, warned: bool, tmp_path: Path) -> None:  # noqa: FBT001
    """Whether it is in the document or in a file."""
    (tmp_path / "token").write_text("x" * size + "\n")

    for user in ({"token": "x" * size}, {"tokenFile": "token"}):
        assert ("short-token" in findings_for(Case(TAKEN, user=user), tmp_path)) is warned


@pytest.mark.parametrize(("mode", "readable"), [(0o600, False), (0o400, False), (0o640, True), (0o644, True)])
def test_a_file_with_a_secret_that_others_can_read_is_a_warning(mode: int, readable: bool, tmp_path: Path) -> None:  # noqa: FBT001
    """A file without a secret may be readable."""
    write_files(tmp_path)
    path = tmp_path / "k.yaml"
    for user in ({"token": LONG}, {"tokenFile": "token"}):
        path.write_text(json.dumps(Case(TAKEN, user=user).document()))
        path.chmod(mode)

        warned = [finding.rule for finding in rules.read(path)[1]] == ["readable"]

        assert warned is (readable and "token" in user)


def test_an_absent_file_is_named(tmp_path: Path) -> None:
    """The finding has the path as written in the document."""
    finding = findings_for(Case(REFUSED, {"certificate-authority": "pki/ca.pem"}), tmp_path)["absent-file"]

    assert finding.reason.startswith("pki/ca.pem cannot be found")


def test_the_finding_for_an_unknown_field_suggests_a_similar_field(tmp_path: Path) -> None:
    """The suggestion is a field that is valid in the same place."""
    finding = findings_for(Case(TAKEN, user={"token-file": "token"}), tmp_path)["unknown-field"]

    assert "'users[0].user.token-file' is not a field" in finding.reason
    assert finding.reason.endswith("Did you mean tokenFile?")


@pytest.mark.parametrize(
    "user",
    [
        {"token": "s3cret\n"},
        {"token": "s3cret", "username": "u", "password": "s3cret"},
        {"username": "a:s3cret", "password": "s3cret"},
        {"token": ["s3cret"]},
        {"client-key-data": "s3cret"},
    ],
)
def test_no_finding_shows_a_secret(user: dict[str, Any], tmp_path: Path) -> None:
    """Reasons describe the fault, and do not repeat the value."""
    findings = findings_for(Case(TAKEN, user=user), tmp_path)

    assert findings
    assert "s3cret" not in " ".join(str(finding) for finding in findings.values())
