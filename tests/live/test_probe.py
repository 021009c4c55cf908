"""The probe against the function in its real server over TLS, and against servers that would lose a batch."""

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


pytestmark = pytest.mark.usefixtures("workspace")


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Return a CA and what it issued."""
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def function(tmp_path_factory: pytest.TempPathFactory, certificates: Certificates) -> Iterator[tuple[int, Path]]:
    """Return the port of the function over TLS, and the folder that it stores below."""
    folder = tmp_path_factory.mktemp("function")
    settings = {"AUDIT_SINKS": "file:var/log?key={cluster}/{user}", "AUDIT_TOKENS": TOKENS}
    with webhook.function(folder, certificates, settings) as port:
        yield port, folder


def probe(cluster: str, *options: str, timeout_s: float = 20) -> Result:
    """Write a kubeconfig with ``options``, and probe its server."""
    if not Path("token").exists():
        Path("token").write_text(f"{TOKEN}\n")
    runner = CliRunner()
    written = runner.invoke(main, ["kubeconfig", cluster, *options, "--output", "k.yaml", "--force"])
    assert written.exit_code == 0, written.output
    result = runner.invoke(main, ["kubeconfig", "check", "k.yaml", "--probe", "--timeout", str(timeout_s)])
    assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
    return result


def trusted(port: int, certificates: Certificates) -> list[str]:
    """Return the options for a server of ours, with its CA."""
    return ["--server", f"https://127.0.0.1:{port}", "--ca-data-from", str(certificates.ca)]


# the function


def test_the_function_answers_a_good_kubeconfig(function: tuple[int, Path], certificates: Certificates) -> None:
    """With its TLS, token and path. Nothing is stored."""
    port, stored = function

    result = probe("prod", *trusted(port, certificates), "--token-from", "token")

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
def test_a_token_from_a_file_or_a_program_is_sent(
    function: tuple[int, Path], certificates: Certificates, options: list[str]
) -> None:
    """A file's last line break is removed, and a program is asked as the apiserver asks it."""
    Path("plugin").write_text(PLUGIN)
    Path("plugin").chmod(0o700)

    result = probe("prod", *trusted(function[0], certificates), *options)

    assert result.exit_code == 0, result.output
    assert result.stdout.endswith("as the cluster prod\n")


PLUGIN = """#!/bin/sh
test "$KUBERNETES_EXEC_INFO" = \
'{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "spec": {"interactive": false}}' || exit 9
echo '{"apiVersion":"client.authentication.k8s.io/v1","kind":"'"$KIND"'","status":{"token":"'"$(cat "$1")"'"}}'
"""


def test_an_unknown_token_is_reported(function: tuple[int, Path], certificates: Certificates) -> None:
    """401 with the function's detail, and without the token."""
    Path("token").write_text("a-token-that-nobody-knows")

    result = probe("prod", *trusted(function[0], certificates), "--token-from", "token")

    assert result.exit_code == 1
    assert "error: answer: 401, " in result.stderr
    assert "this token is not known here" in result.stderr
    assert "After 5 tries kube-apiserver drops the batch" in result.stderr
    assert "nobody" not in result.output


def test_another_clusters_token_is_reported(function: tuple[int, Path], certificates: Certificates) -> None:
    """403, since the path names the cluster."""
    Path("token").write_text(OTHER)

    result = probe("prod", *trusted(function[0], certificates), "--token-from", "token")

    assert result.exit_code == 1
    assert "error: answer: 403, " in result.stderr
    assert "this token is for the cluster 'staging'" in result.stderr


def test_basic_credentials_are_refused(function: tuple[int, Path], certificates: Certificates) -> None:
    """The function accepts bearer tokens only, and its detail says so."""
    result = probe("prod", *trusted(function[0], certificates), "--basic", "prod", "--password-from", "token")

    assert result.exit_code == 1
    assert "warning: not-bearer: " in result.stderr
    assert "error: answer: 401, " in result.stderr
    assert TOKEN not in result.output


def test_a_wrong_path_is_reported(function: tuple[int, Path], certificates: Certificates) -> None:
    """404, with the paths that the function serves."""
    server = f"https://127.0.0.1:{function[0]}/audit"

    result = probe("prod", "--server", server, "--ca-file", str(certificates.ca), "--token-from", "token")

    assert result.exit_code == 1
    assert "error: answer: 404, " in result.stderr
    assert "/clusters/<cluster>" in result.stderr


# TLS


def test_an_untrusted_server_is_reported(function: tuple[int, Path]) -> None:
    """Without its CA in the kubeconfig."""
    result = probe("prod", "--server", f"https://127.0.0.1:{function[0]}", "--token-from", "token")

    assert result.exit_code == 1
    assert "error: probe: TLS: the server's certificate is not trusted" in result.stderr


def test_the_certificate_must_have_the_expected_name(function: tuple[int, Path], certificates: Certificates) -> None:
    """It is the URL's host, or tls-server-name."""
    options = [*trusted(function[0], certificates), "--token-from", "token", "--tls-server-name"]

    good, bad = probe("prod", *options, "audit.example.com"), probe("prod", *options, "audit.example.org")

    assert good.exit_code == 0, good.output
    assert bad.exit_code == 1
    assert "TLS: the server's certificate is not trusted" in bad.stderr


def test_insecure_skip_tls_verify_accepts_any_certificate(function: tuple[int, Path]) -> None:
    """And causes a warning."""
    server = f"https://127.0.0.1:{function[0]}"

    result = probe("prod", "--server", server, "--insecure-skip-tls-verify", "--token-from", "token")

    assert result.exit_code == 0, result.output
    assert "warning: insecure: " in result.stderr


@pytest.mark.parametrize("embed", [[], ["--embed"]])
def test_a_client_certificate_is_presented(tmp_path: Path, certificates: Certificates, embed: list[str]) -> None:
    """From files and as data. A server that requires one does not answer without it."""
    pair = ["--client-certificate", str(certificates.client_chain), "--client-key", str(certificates.client_key)]
    demand = ["--cert-reqs=2", f"--ca-certs={certificates.ca}"]
    environ = {"AUDIT_SINKS": "memory:", "AUDIT_CLUSTER": "prod"}
    with webhook.function(tmp_path, certificates, environ, *demand) as port:
        shown = probe("prod", *trusted(port, certificates), *pair, *embed)
        without = probe("prod", *trusted(port, certificates), "--no-credentials")

    assert shown.exit_code == 0, shown.output
    assert "with a client certificate\nprobe: 200 over TLS" in shown.stdout
    assert without.exit_code == 1
    assert "error: probe: " in without.stderr


def test_a_port_without_tls_is_reported_as_a_tls_failure() -> None:
    """The URL is https, and the server speaks plain HTTP."""
    with webhook.answering(lambda handler: handler.send_error(500), None) as port:
        result = probe("prod", "--server", f"https://127.0.0.1:{port}", "--token-from", "token")

    assert result.exit_code == 1
    assert "error: probe: TLS: " in result.stderr


# answers that lose a batch


def answer_with(status: int, body: bytes = b"", **headers: str) -> Callable[[BaseHTTPRequestHandler], None]:
    """Return a handler that answers with this status, body and headers."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


@pytest.mark.parametrize(
    ("status", "location", "code", "message"),
    [
        (301, "https://elsewhere.example/x?secret=1", 1, "a redirect to https://elsewhere.example/x: kube-apiserver "),
        (302, "/login", 1, "follows it with a GET without a body, and loses every batch silently"),
        (303, "/login", 1, "loses every batch silently"),
        (307, "/clusters/prod/", 0, "warning: answer: 307, a redirect to "),
        (308, "https://elsewhere.example/", 1, "posts there without credentials"),
        (304, "/", 1, "error: answer: 304. After 5 tries"),
    ],
)
def test_a_redirect_is_reported_and_not_followed(
    certificates: Certificates, status: int, location: str, code: int, message: str
) -> None:
    """The finding says what the apiserver would do."""
    requests = []

    def answer(handler: BaseHTTPRequestHandler) -> None:
        requests.append(handler.path)
        answer_with(status, Location=location)(handler)

    with webhook.answering(answer, certificates) as port:
        result = probe("prod", *trusted(port, certificates), "--token-from", "token")

    assert requests == ["/clusters/prod?timeout=30s"]
    assert result.exit_code == code
    assert message in result.stderr
    assert "secret" not in result.output


def test_the_request_equals_the_apiservers(certificates: Certificates) -> None:
    """Its request line, headers and credentials, as measured."""
    seen: dict[str, str] = {}

    def answer(handler: BaseHTTPRequestHandler) -> None:
        seen.update({name.lower(): value for name, value in handler.headers.items()}, line=handler.requestline)
        answer_with(200, json.dumps({"cluster": "prod", "batch": ""}).encode())(handler)

    with webhook.answering(answer, certificates) as port:
        result = probe("prod", *trusted(port, certificates), "--token-from", "token")

    assert result.exit_code == 0, result.output
    assert seen["line"] == "POST /clusters/prod?timeout=30s HTTP/1.1"
    assert (seen["content-type"], seen["accept"]) == ("application/json", "application/json, */*")
    assert (seen["authorization"], seen["host"]) == (f"Bearer {TOKEN}", f"127.0.0.1:{port}")


def test_an_answer_200_without_a_receipt_is_a_warning(certificates: Certificates) -> None:
    """The apiserver would count the batch as delivered."""
    with webhook.answering(answer_with(200, b"<html>"), certificates) as port:
        result = probe("prod", *trusted(port, certificates), "--token-from", "token")

    assert result.exit_code == 0
    assert "warning: answer: kube-apiserver would count the batch as delivered, but " in result.stderr
    assert "the answer is not a receipt of auditsplit" in result.stderr


@pytest.mark.parametrize("slow", ["silent", "dripping"])
def test_a_slow_answer_is_cut_off(certificates: Certificates, slow: str) -> None:
    """The time is for the whole answer, so a server that keeps sending is cut off too."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        for _ in range(50 if slow == "dripping" else 0):
            handler.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            time.sleep(0.1)
        time.sleep(2)

    with webhook.answering(answer, certificates) as port:
        began = time.monotonic()
        result = probe("prod", *trusted(port, certificates), "--token-from", "token", timeout_s=0.7)
        took_s = time.monotonic() - began

    assert result.exit_code == 1
    assert "error: probe: no answer within 0.7 s. kube-apiserver gives up after 30 s" in result.stderr
    assert took_s < 4


def test_a_refused_connection_is_reported_with_its_address() -> None:
    """The port is bound, and nothing listens at it."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        server = f"https://127.0.0.1:{taken.getsockname()[1]}"
        result = probe("prod", "--server", server, "--token-from", "token")

    assert result.exit_code == 1
    assert f"error: probe: Connection refused, at {server[8:]}" in result.stderr


@pytest.mark.parametrize(
    "text", [b"", b"\x1b[2Jnonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort"]
)
def test_a_malformed_answer_is_reported(certificates: Certificates, text: bytes) -> None:
    """Also an empty or short answer. The message is safe for a terminal."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(text)
        handler.close_connection = True

    with webhook.answering(answer, certificates) as port:
        result = probe("prod", *trusted(port, certificates), "--token-from", "token")

    assert result.exit_code == 1
    assert re.search(rf"error: probe: .+, at 127.0.0.1:{port}$", result.stderr)
    assert "\x1b" not in result.output


def test_a_name_that_does_not_resolve_is_reported() -> None:
    """A Service's name does not resolve on the host's network."""
    result = probe("prod", "--server", "https://auditsplit.audit.svc", "--token-from", "token")

    assert result.exit_code == 1
    assert "warning: cluster-dns: " in result.stderr
    assert "the name auditsplit.audit.svc does not resolve here" in result.stderr


# proxies


def test_a_request_goes_through_a_proxys_tunnel(function: tuple[int, Path], certificates: Certificates) -> None:
    """With the proxy's own credentials, and the token stays inside TLS."""
    with webhook.proxy() as (port, requests):
        url = f"http://name:word@127.0.0.1:{port}"
        result = probe("prod", *trusted(function[0], certificates), "--token-from", "token", "--proxy-url", url)

    assert result.exit_code == 0, result.output
    assert requests[0].startswith(f"CONNECT 127.0.0.1:{function[0]} HTTP/1.")
    assert "Proxy-Authorization: Basic bmFtZTp3b3Jk\r\n" in requests[0]
    assert TOKEN not in "".join(requests)


def test_a_plain_request_through_a_proxy_has_the_whole_url() -> None:
    """No credentials are sent over http."""
    lines = []

    def answer(handler: BaseHTTPRequestHandler) -> None:
        lines.append((handler.requestline, handler.headers["Authorization"]))
        answer_with(200, json.dumps({"cluster": "prod", "batch": ""}).encode())(handler)

    with webhook.answering(answer, None) as port:
        proxy = f"http://127.0.0.1:{port}"
        result = probe("prod", "--server", "http://127.0.0.1:9", "--no-credentials", "--proxy-url", proxy)

    assert result.exit_code == 0, result.output
    assert lines == [("POST http://127.0.0.1:9/clusters/prod?timeout=30s HTTP/1.1", None)]


def test_a_proxys_refusal_is_reported() -> None:
    """With the proxy's status."""
    with webhook.answering(answer_with(407), None) as port:
        options = ["--token-from", "token", "--proxy-url", f"http://127.0.0.1:{port}"]
        result = probe("prod", "--server", "https://127.0.0.1:9", *options)

    assert result.exit_code == 1
    assert "error: probe: Tunnel connection failed: 501" in result.stderr


@pytest.mark.parametrize("scheme", ["https", "socks5"])
def test_a_proxy_of_another_scheme_is_reported(scheme: str) -> None:
    """The probe does not bypass it."""
    options = ["--server", "https://127.0.0.1:9", "--token-from", "token", "--proxy-url", f"{scheme}://127.0.0.1:9"]

    result = probe("prod", *options)

    assert result.exit_code == 1
    assert f"http proxies only, not {scheme}" in result.stderr
