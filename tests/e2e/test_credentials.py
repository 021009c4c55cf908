"""Each kind of credential that ``auditsplit kubeconfig`` writes, shown by a real kube-apiserver and taken."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path

import pytest
from support import commands, webhook
from support.function import Function, by_place, held
from support.kubernetes import EVERYTHING, QUICK, Apiserver
from support.pki import Pki
from support.receiver import receiving

from auditsplit import auth

PLUGIN = """#!/bin/sh
echo '{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"'"$TOKEN"'"}}'
"""


@pytest.mark.parametrize("kind", ["token-from", "token-file", "exec-command"])
def test_a_token_reaches_the_function_however_it_is_kept(
    apiserver: Callable[[], Apiserver], function: Callable[..., Function], pki: Pki, tmp_path: Path, kind: str
) -> None:
    """In the kubeconfig, in a file beside it with a line feed at its end, or printed by a program."""
    receiver, server, kubeconfig = function(), apiserver(), tmp_path / "webhook.yaml"
    token, known = auth.new_token("prod")
    (tmp_path / "token").write_text(f"{token}\n")
    (tmp_path / "plugin").write_text(PLUGIN)
    (tmp_path / "plugin").chmod(0o700)
    options: dict[str, list[str | Path]] = {
        "token-from": [tmp_path / "token"],
        "token-file": ["token"],
        "exec-command": [tmp_path / "plugin", "--exec-env", f"TOKEN={token}"],
    }
    commands.kubeconfig(kubeconfig, "prod", receiver.url, pki.ca, f"--{kind}", *options[kind])
    settings = {"AUDIT_TOKENS": str(known), "AUDIT_SINKS": "memory:"}
    runs = int(kind == "exec-command")  # a program is run by --probe, and by nothing that only looks
    foreseen = commands.auditsplit("check", "--kubeconfig", kubeconfig, expected=runs, **settings)
    receiver.start(str(known))
    probed = commands.auditsplit("kubeconfig", "check", kubeconfig, "--probe")
    server.start(kubeconfig, EVERYTHING, QUICK)
    server.stop()

    assert ("accepted as the cluster prod" in foreseen.out) == (not runs)
    assert "as the cluster prod" in probed.out
    assert held(receiver) == by_place(server.audit_log(), "prod")
    assert (server.lost(), receiver.troubles()) == ({}, {})


@pytest.mark.parametrize("embed", [[], ["--embed"]], ids=["files", "embedded"])
def test_a_client_certificate_opens_the_functions_tls(
    apiserver: Callable[[], Apiserver], function: Callable[..., Function], pki: Pki, tmp_path: Path, embed: list[str]
) -> None:
    """Where the function's server wants one, nobody else gets as far as to post."""
    receiver, server, kubeconfig = function(mutual=True), apiserver(), tmp_path / "webhook.yaml"
    pair: list[str | Path] = ["--client-certificate", pki.client.certificate, "--client-key", pki.client.key]
    commands.kubeconfig(kubeconfig, "prod", receiver.url, pki.ca, *pair, *embed)
    receiver.start()
    server.start(kubeconfig, EVERYTHING, QUICK)
    server.stop()

    assert held(receiver) == by_place(server.audit_log(), "prod")
    assert server.lost() == {}


def test_basic_credentials_go_through_a_proxy_to_the_server_of_a_name(
    apiserver: Callable[[], Apiserver], pki: Pki, tmp_path: Path
) -> None:
    """What a gateway in front of the function would check: a recording server sees it in every batch."""
    server, kubeconfig = apiserver(), tmp_path / "webhook.yaml"
    (tmp_path / "password").write_text("pass:word ü\n")
    with receiving(tls=pki.serving(pki.named)) as gateway, webhook.proxy() as (port, asked):
        known_as: list[str | Path] = ["--ca-data-from", pki.ca, "--tls-server-name", "audit.example.test"]
        options: list[str | Path] = ["--server", gateway.url, *known_as, "--proxy-url", f"http://127.0.0.1:{port}"]
        basic: list[str | Path] = ["--basic", "audit", "--password-from", tmp_path / "password"]
        commands.auditsplit("kubeconfig", "prod", *options, *basic, "--output", kubeconfig)
        server.start(kubeconfig, EVERYTHING, QUICK)
        server.stop()

    shown = {posted.headers["authorization"] for posted in gateway.posts}
    assert shown == {"Basic " + base64.b64encode("audit:pass:word ü".encode()).decode()}
    assert asked[0].startswith("CONNECT 127.0.0.1:")
    assert sum(len(posted.events) for posted in gateway.posts) == len(server.audit_log())
