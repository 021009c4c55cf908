"""The probe against the function in its real server over TLS, and against servers that a batch would be lost to."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from support import webhook
from support.webhook import Certificates

from auditsplit.auth import TokenHash
from auditsplit.cli import main

TOKEN, OTHER = "token-of-the-probes-own-tests", "token-of-the-tests-for-staging"
TOKENS = f"{TokenHash.of('prod', TOKEN)} {TokenHash.of('staging', OTHER)}"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Return a CA and what it issued."""
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def function(tmp_path_factory: pytest.TempPathFactory, certificates: Certificates) -> Iterator[tuple[int, Path]]:
    """Return the port of the function over TLS, and the folder that it stores below."""
    folder = tmp_path_factory.mktemp("function")
    with webhook.function(folder, certificates, {"AUDIT_SINKS": "file:var/log", "AUDIT_TOKENS": TOKENS}) as port:
        yield port, folder


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder of its own that has a token."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AUDIT_TOKENS", raising=False)
    Path("token").write_text(f"{TOKEN}\n")
    return tmp_path


def probing(cluster: str, *options: str, timeout_s: float = 20) -> Result:
    """Write a kubeconfig with ``options``, and probe it."""
    runner = CliRunner()
    written = runner.invoke(main, ["kubeconfig", cluster, *options, "--output", "k.yaml", "--force"])
    assert written.exit_code == 0, written.output
    result = runner.invoke(main, ["kubeconfig", "check", "k.yaml", "--probe", "--timeout", str(timeout_s)])
    assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
    return result


def trusting(port: int, certificates: Certificates) -> list[str]:
    """Return the options for a server of ours, with its CA."""
    return ["--server", f"https://127.0.0.1:{port}", "--ca-data-from", str(certificates.ca)]


# the function


def test_a_good_kubeconfig_gets_through(function: tuple[int, Path], certificates: Certificates) -> None:
    """TLS, the token and the path are as the apiserver needs them; nothing is stored."""
    port, stored = function

    result = probing("prod", *trusting(port, certificates), "--token-from", "token")

    assert result.exit_code == 0, result.output
    assert "with a token\nprobe: 200 over TLSv1.3 in " in result.stdout
    assert result.stdout.endswith("as the cluster prod\n")
    assert result.stderr == ""
    assert [
        path for path in (stored / "var/log").rglob("*") if path.is_file() and ".auditsplit" not in path.parts
    ] == []


@pytest.mark.parametrize(
    "options",
    [
        ["--token-file", "token"],
        ["--exec-command", "./plugin", "--exec-arg", "token", "--exec-env", "KIND=ExecCredential"],
    ],
)
def test_every_bearer_token_gets_through(
    function: tuple[int, Path], certificates: Certificates, options: list[str]
) -> None:
    """From a file, with the line break at its end, and from a program, which is asked as the apiserver asks."""
    Path("plugin").write_text(PLUGIN)
    Path("plugin").chmod(0o700)

    result = probing("prod", *trusting(function[0], certificates), *options)

    assert result.exit_code == 0, result.output
    assert result.stdout.endswith("as the cluster prod\n")


PLUGIN = """#!/bin/sh
test "$KUBERNETES_EXEC_INFO" = \
'{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "spec": {"interactive": false}}' || exit 9
echo '{"apiVersion":"client.authentication.k8s.io/v1","kind":"'"$KIND"'","status":{"token":"'"$(cat "$1")"'"}}'
"""


def test_an_unknown_token(function: tuple[int, Path], certificates: Certificates) -> None:
    """401, with what the function says of it; the token itself is not shown."""
    Path("token").write_text("a-token-that-nobody-knows")

    result = probing("prod", *trusting(function[0], certificates), "--token-from", "token")

    assert result.exit_code == 1
    assert "error: answer: 401, " in result.stderr
    assert "this token is not known here" in result.stderr
    assert "after 5 tries kube-apiserver drops the batch" in result.stderr
    assert "nobody" not in result.output


def test_a_token_of_another_cluster(function: tuple[int, Path], certificates: Certificates) -> None:
    """403, since the path names the cluster."""
    Path("token").write_text(OTHER)

    result = probing("prod", *trusting(function[0], certificates), "--token-from", "token")

    assert result.exit_code == 1
    assert "error: answer: 403, " in result.stderr
    assert "this token is for the cluster 'staging'" in result.stderr


def test_basic_credentials(function: tuple[int, Path], certificates: Certificates) -> None:
    """The function doesn't know them, and says what it does."""
    result = probing("prod", *trusting(function[0], certificates), "--basic", "prod", "--password-from", "token")

    assert result.exit_code == 1
    assert "warning: not-bearer: " in result.stderr
    assert "error: answer: 401, " in result.stderr
    assert TOKEN not in result.output


def test_a_wrong_path(function: tuple[int, Path], certificates: Certificates) -> None:
    """404, with the paths that there are."""
    server = f"https://127.0.0.1:{function[0]}/audit"

    result = probing("prod", "--server", server, "--ca-file", str(certificates.ca), "--token-from", "token")

    assert result.exit_code == 1
    assert "error: answer: 404, " in result.stderr
    assert "/clusters/<cluster>" in result.stderr


# TLS


def test_a_server_that_is_not_trusted(function: tuple[int, Path]) -> None:
    """Without the CA it is told what is missing."""
    result = probing("prod", "--server", f"https://127.0.0.1:{function[0]}", "--token-from", "token")

    assert result.exit_code == 1
    assert "error: probe: TLS: the server's certificate is not trusted" in result.stderr


def test_a_certificate_of_another_name(function: tuple[int, Path], certificates: Certificates) -> None:
    """The name that is expected counts, the URL's or tls-server-name."""
    options = [*trusting(function[0], certificates), "--token-from", "token", "--tls-server-name"]

    good, bad = probing("prod", *options, "audit.example.com"), probing("prod", *options, "audit.example.org")

    assert good.exit_code == 0, good.output
    assert bad.exit_code == 1
    assert "TLS: the server's certificate is not trusted" in bad.stderr


def test_any_certificate(function: tuple[int, Path]) -> None:
    """With insecure-skip-tls-verify nothing is verified, and that is warned of."""
    server = f"https://127.0.0.1:{function[0]}"

    result = probing("prod", "--server", server, "--insecure-skip-tls-verify", "--token-from", "token")

    assert result.exit_code == 0, result.output
    assert "warning: insecure: " in result.stderr


@pytest.mark.parametrize("embed", [[], ["--embed"]])
def test_a_client_certificate(tmp_path: Path, certificates: Certificates, embed: list[str]) -> None:
    """A server that wants one gets it, from files and as data; without one there is no answer."""
    pair = ["--client-certificate", str(certificates.client_chain), "--client-key", str(certificates.client_key)]
    demand = ["--cert-reqs=2", f"--ca-certs={certificates.ca}"]
    environ = {"AUDIT_SINKS": "memory:", "AUDIT_CLUSTER": "prod"}
    with webhook.function(tmp_path, certificates, environ, *demand) as port:
        shown = probing("prod", *trusting(port, certificates), *pair, *embed)
        without = probing("prod", *trusting(port, certificates), "--no-credentials")

    assert shown.exit_code == 0, shown.output
    assert "with a client certificate\nprobe: 200 over TLS" in shown.stdout
    assert without.exit_code == 1
    assert "error: probe: " in without.stderr


def test_a_port_without_tls() -> None:
    """Plain HTTP under an https URL is told as TLS's trouble."""
    with webhook.answering(lambda handler: handler.send_error(500), None) as port:
        result = probing("prod", "--server", f"https://127.0.0.1:{port}", "--token-from", "token")

    assert result.exit_code == 1
    assert "error: probe: TLS: " in result.stderr


# what a batch would be lost to


def saying(status: int, body: bytes = b"", **headers: str) -> Callable[[BaseHTTPRequestHandler], None]:
    """Return an answer."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


@pytest.mark.parametrize(
    ("status", "location", "code", "told"),
    [
        (301, "https://elsewhere.example/x?secret=1", 1, "a redirect to https://elsewhere.example/x: kube-apiserver "),
        (302, "/login", 1, "follows it with a GET without a body, and every batch is lost without a word"),
        (303, "/login", 1, "lost without a word"),
        (307, "/clusters/prod/", 0, "warning: answer: 307, a redirect to "),
        (308, "https://elsewhere.example/", 1, "posts there, but without the credentials"),
        (304, "/", 1, "error: answer: 304; after 5 tries"),
    ],
)
def test_a_redirect_is_told_not_followed(
    certificates: Certificates, status: int, location: str, code: int, told: str
) -> None:
    """What the apiserver would do is said, and no second request is made."""
    requests = []

    def answer(handler: BaseHTTPRequestHandler) -> None:
        requests.append(handler.path)
        saying(status, Location=location)(handler)

    with webhook.answering(answer, certificates) as port:
        result = probing("prod", *trusting(port, certificates), "--token-from", "token")

    assert requests == ["/clusters/prod?timeout=30s"]
    assert result.exit_code == code
    assert told in result.stderr
    assert "secret" not in result.output


def test_the_request_is_the_apiservers(certificates: Certificates) -> None:
    """Its line, its headers and its body, as they were measured; with the credentials."""
    seen: dict[str, str] = {}

    def answer(handler: BaseHTTPRequestHandler) -> None:
        seen.update({name.lower(): value for name, value in handler.headers.items()}, line=handler.requestline)
        saying(200, json.dumps({"cluster": "prod", "batch": ""}).encode())(handler)

    with webhook.answering(answer, certificates) as port:
        result = probing("prod", *trusting(port, certificates), "--token-from", "token")

    assert result.exit_code == 0, result.output
    assert seen["line"] == "POST /clusters/prod?timeout=30s HTTP/1.1"
    assert (seen["content-type"], seen["accept"]) == ("application/json", "application/json, */*")
    assert (seen["authorization"], seen["host"]) == (f"Bearer {TOKEN}", f"127.0.0.1:{port}")


def test_something_else_that_answers_200(certificates: Certificates) -> None:
    """A page is no receipt, though the apiserver would take it for a delivery."""
    with webhook.answering(saying(200, b"<html>"), certificates) as port:
        result = probing("prod", *trusting(port, certificates), "--token-from", "token")

    assert result.exit_code == 0
    assert "warning: answer: delivered, as kube-apiserver sees it, but this is no receipt" in result.stderr


@pytest.mark.parametrize("slow", ["silent", "dripping"])
def test_no_answer_in_time(certificates: Certificates, slow: str) -> None:
    """The time is for all of the answer: a server that goes on sending is cut off too."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        for _ in range(50 if slow == "dripping" else 0):
            handler.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            time.sleep(0.1)
        time.sleep(2)

    with webhook.answering(answer, certificates) as port:
        began = time.monotonic()
        result = probing("prod", *trusting(port, certificates), "--token-from", "token", timeout_s=0.7)
        took_s = time.monotonic() - began

    assert result.exit_code == 1
    assert "error: probe: no answer within 0.7 s; kube-apiserver gives up after 30 s" in result.stderr
    assert took_s < 4


def test_nobody_listens() -> None:
    """A refused connection is told with where."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        server = f"https://127.0.0.1:{taken.getsockname()[1]}"
        result = probing("prod", "--server", server, "--token-from", "token")

    assert result.exit_code == 1
    assert f"error: probe: Connection refused, at {server[8:]}" in result.stderr


@pytest.mark.parametrize(
    "said", [b"", b"\x1b[2Jnonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort"]
)
def test_an_answer_that_is_none(certificates: Certificates, said: bytes) -> None:
    """A connection that ends, or brings something else, is told without what a terminal would take amiss."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(said)
        handler.close_connection = True

    with webhook.answering(answer, certificates) as port:
        result = probing("prod", *trusting(port, certificates), "--token-from", "token")

    assert result.exit_code == 1
    assert re.search(rf"error: probe: .+, at 127.0.0.1:{port}$", result.stderr)
    assert "\x1b" not in result.output


def test_a_name_that_does_not_resolve() -> None:
    """As a Service's name doesn't, on the host's network."""
    result = probing("prod", "--server", "https://auditsplit.audit.svc", "--token-from", "token")

    assert result.exit_code == 1
    assert "warning: cluster-dns: " in result.stderr
    assert "the name auditsplit.audit.svc doesn't resolve here" in result.stderr


# by way of a proxy


def test_through_a_proxy(function: tuple[int, Path], certificates: Certificates) -> None:
    """TLS goes through the proxy's tunnel, with what the proxy wants to see."""
    with webhook.proxy() as (port, asked):
        url = f"http://name:word@127.0.0.1:{port}"
        result = probing("prod", *trusting(function[0], certificates), "--token-from", "token", "--proxy-url", url)

    assert result.exit_code == 0, result.output
    assert asked[0].startswith(f"CONNECT 127.0.0.1:{function[0]} HTTP/1.")
    assert "Proxy-Authorization: Basic bmFtZTp3b3Jk\r\n" in asked[0]
    assert TOKEN not in "".join(asked)


def test_plain_http_through_a_proxy() -> None:
    """The proxy gets the whole URL; and no credentials go over http."""
    lines = []

    def answer(handler: BaseHTTPRequestHandler) -> None:
        lines.append((handler.requestline, handler.headers["Authorization"]))
        saying(200, json.dumps({"cluster": "prod", "batch": ""}).encode())(handler)

    with webhook.answering(answer, None) as port:
        proxy = f"http://127.0.0.1:{port}"
        result = probing("prod", "--server", "http://127.0.0.1:9", "--no-credentials", "--proxy-url", proxy)

    assert result.exit_code == 0, result.output
    assert lines == [("POST http://127.0.0.1:9/clusters/prod?timeout=30s HTTP/1.1", None)]


def test_a_proxy_that_refuses() -> None:
    """Its status is told."""
    with webhook.answering(saying(407), None) as port:
        options = ["--token-from", "token", "--proxy-url", f"http://127.0.0.1:{port}"]
        result = probing("prod", "--server", "https://127.0.0.1:9", *options)

    assert result.exit_code == 1
    assert "error: probe: Tunnel connection failed: 501" in result.stderr


@pytest.mark.parametrize("scheme", ["https", "socks5"])
def test_a_proxy_that_the_probe_cant_use(scheme: str) -> None:
    """It says so, and doesn't go around it."""
    options = ["--server", "https://127.0.0.1:9", "--token-from", "token", "--proxy-url", f"{scheme}://127.0.0.1:9"]

    result = probing("prod", *options)

    assert result.exit_code == 1
    assert f"http proxies only, not {scheme}" in result.stderr
