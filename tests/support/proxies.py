"""Caddy and nginx in front of the function, with the configurations in infra/proxies."""

from __future__ import annotations

import contextlib
import http.client
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from support.pki import Pki
from support.processes import BIN, free_port, running

_PROXIES = Path(__file__).parents[2] / "infra" / "proxies"
_NGINX = Path(shutil.which("nginx", path="/usr/sbin:/usr/bin") or "/usr/sbin/nginx")
_NONE: Mapping[str, str] = MappingProxyType({})
_MAIN = """
pid {folder}/nginx.pid;
error_log {folder}/error.log;
daemon off;
user root;
events {{}}
http {{
    access_log {folder}/access.log;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/auditsplit.conf;
}}
"""


class Proxy(NamedTuple):
    """A running proxy; ``validate`` checks its configuration as its own manual says."""

    url: str
    validate: Callable[[], subprocess.CompletedProcess[str]]

    def status(self, pki: Pki, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] = _NONE) -> int:
        """Return the status of the answer to a request."""
        port = int(self.url.rpartition(":")[2])
        connection = http.client.HTTPSConnection("127.0.0.1", port, context=pki.trusting(), timeout=60)
        with contextlib.closing(connection):
            connection.request(method, path, body, {"Content-Type": "application/json", **headers})
            return connection.getresponse().status


@contextlib.contextmanager
def caddy(folder: Path, pki: Pki, upstream: int) -> Iterator[Proxy]:
    """Run Caddy in front of the function on port ``upstream``."""
    folder.mkdir()
    port = free_port()
    text = (_PROXIES / "Caddyfile").read_text()
    config = folder / "Caddyfile"
    site = _replaced(text, "audit.example.com {", f"https://127.0.0.1:{port} {{")
    config.write_text(_placed(site, "/etc/caddy", pki, upstream))
    options: list[str | Path] = ["--config", config, "--adapter", "caddyfile"]
    command: list[str | Path] = [BIN / "caddy", "run", *options]
    with running(command, folder / "caddy.log", lambda: _listens(port)):
        yield Proxy(f"https://127.0.0.1:{port}", lambda: _run([BIN / "caddy", "validate", *options]))


@contextlib.contextmanager
def nginx(folder: Path, pki: Pki, upstream: int) -> Iterator[Proxy]:
    """Run nginx in front of the function on port ``upstream``."""
    folder.mkdir()
    port = free_port()
    text = _replaced((_PROXIES / "nginx.conf").read_text(), "listen 443 ssl", f"listen 127.0.0.1:{port} ssl")
    (folder / "auditsplit.conf").write_text(_placed(text, "/etc/nginx", pki, upstream))
    (folder / "nginx.conf").write_text(_MAIN.format(folder=folder))
    command: list[str | Path] = [_NGINX, "-p", folder, "-c", folder / "nginx.conf", "-e", folder / "error.log"]
    with running(command, folder / "nginx.log", lambda: _listens(port)):
        yield Proxy(f"https://127.0.0.1:{port}", lambda: _run([*command, "-t"]))


PROXIES = {"caddy": caddy, "nginx": nginx}


def _placed(text: str, etc: str, pki: Pki, upstream: int) -> str:
    """Return a configuration with the test's certificate, key and port."""
    text = _replaced(text, f"{etc}/tls.crt", str(pki.receiver.certificate))
    text = _replaced(text, f"{etc}/tls.key", str(pki.receiver.key))
    return _replaced(text, "127.0.0.1:8888", f"127.0.0.1:{upstream}")


def _replaced(text: str, old: str, new: str) -> str:
    if text.count(old) != 1:
        raise AssertionError(f"{old!r} is in the configuration {text.count(old)} times, not once")
    return text.replace(old, new)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _run(command: list[str | Path]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False)
