"""``auditsplit serve`` as a process: its first line, TLS, what a terminal shows, and its mistakes."""

from __future__ import annotations

import http.client
import json
import os
import pty
import re
import signal
import socket
import ssl
import subprocess
from contextlib import closing
from pathlib import Path

import pytest
from support.environment import plain_environment
from support.pki import Pki
from support.processes import kill
from support.recording import DATA
from support.serve_command import PROGRAM, serving

pytestmark = pytest.mark.slow
LIST = (DATA / "eventlist-003.json").read_bytes()
JSON = {"Content-Type": "application/json"}


def posted_by_tls(port: int, context: ssl.SSLContext) -> int:
    """Return the status of a list that is posted with the certificates of ``context``."""
    with closing(http.client.HTTPSConnection("127.0.0.1", port, timeout=30, context=context)) as connection:
        connection.request("POST", "/", LIST, JSON)
        return connection.getresponse().status


def refused(folder: Path, *options: str | Path, **environ: str) -> str:
    """Return what the command reports as it fails: a single error."""
    command: list[str | Path] = [PROGRAM, "serve", *options]
    done = subprocess.run(
        command, cwd=folder, env={**plain_environment(), **environ}, capture_output=True, text=True, check=False
    )
    assert done.returncode in (1, 2)
    assert "Traceback" not in done.stderr
    [error] = re.findall(r"^error: .*", done.stderr, re.MULTILINE)
    return str(error)


def test_the_first_line_has_the_url_and_sigterm_drains(tmp_path: Path) -> None:
    """A request whose body is half sent at SIGTERM is still answered, and its events are in the files."""
    with serving(tmp_path, "--workers", "2") as (process, message, port):
        assert message == f"listening on http://127.0.0.1:{port}/"
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        with closing(connection):
            connection.putrequest("POST", "/")
            for name, value in {**JSON, "Content-Length": str(len(LIST)), "Expect": "100-continue"}.items():
                connection.putheader(name, value)
            connection.endheaders()
            assert connection.sock.recv(25) == b"HTTP/1.1 100 Continue\r\n\r\n"  # a thread reads the body
            process.send_signal(signal.SIGTERM)
            connection.send(LIST)
            answer = connection.getresponse()
            assert (answer.status, json.loads(answer.read())["events"]) == (200, 35)
        assert process.wait(30) == 0
    assert (tmp_path / "var/log/kube-audit-bob/audit").read_bytes().count(b"\n") == 7


def test_tls_requires_a_client_certificate_with_client_ca(tmp_path: Path) -> None:
    """A sender with a certificate of the authority is answered. A sender without one is not."""
    pki = Pki(tmp_path / "pki")
    files = ("--certfile", pki.receiver.certificate, "--keyfile", pki.receiver.key, "--client-ca", pki.ca)
    with serving(tmp_path, *files) as (_, message, port):
        assert message == f"listening on https://127.0.0.1:{port}/"
        context = pki.trusting()
        with pytest.raises((ssl.SSLError, ConnectionError)):
            posted_by_tls(port, context)
        context.load_cert_chain(*pki.client)
        assert posted_by_tls(port, context) == 200


def test_an_address_in_use_is_one_sentence(tmp_path: Path) -> None:
    """The message names the address, and what to do."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]

        said = refused(tmp_path, "--port", str(port))

    assert f"127.0.0.1:{port}" in said
    assert "--port" in said


@pytest.mark.parametrize("host", ["192.0.2.1", "name.invalid"])
def test_an_address_of_another_machine_is_one_sentence(tmp_path: Path, host: str) -> None:
    """The message names the option to change."""
    assert "--host" in refused(tmp_path, "--host", host, "--port", "0")


def test_wrong_certificates_are_reported_before_the_start(tmp_path: Path) -> None:
    """Each message names the option."""
    pki = Pki(tmp_path / "pki")
    good = ("--certfile", pki.receiver.certificate, "--keyfile", pki.receiver.key)
    empty = tmp_path / "empty.pem"
    empty.touch()

    assert "--keyfile" in refused(tmp_path, *good[:2])
    assert "--certfile" in refused(tmp_path, "--client-ca", pki.ca)
    assert "none.crt" in refused(tmp_path, "--certfile", tmp_path / "none.crt", *good[2:])
    assert "--keyfile" in refused(tmp_path, *good[:3], pki.client.key)
    assert "--client-ca" in refused(tmp_path, *good, "--client-ca", empty)


def test_a_wrong_setting_ends_the_start(tmp_path: Path) -> None:
    """Before the port is taken."""
    assert "AUDIT_SINKS" in refused(tmp_path, AUDIT_SINKS="s4://bucket")


def test_a_terminal_gets_sentences(tmp_path: Path) -> None:
    """The first line is no JSON. A sender cannot write control characters."""
    terminal, other = pty.openpty()
    command: list[str | Path] = [PROGRAM, "serve", "--port", "0", "--threads", "2"]
    process = subprocess.Popen(command, cwd=tmp_path, env=plain_environment(), stderr=other)
    os.close(other)
    try:
        with os.fdopen(terminal, "rb", buffering=0) as shown:
            first = shown.readline().decode()
    finally:
        kill(process)

    assert re.fullmatch(r"\d\d:\d\d:\d\d INFO +listening on http://127\.0\.0\.1:\d+/\r\n", first)
