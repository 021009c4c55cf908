"""Real server programs of the object stores, each a process of its own on free ports of 127.0.0.1.

A program that is missing fails the tests that need it; ``make servers`` installs those that PyPI does not have.
"""

from __future__ import annotations

import contextlib
import hashlib
import http
import json
import os
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).parents[2]
PYTHON = Path(sys.executable)
_WEED = PYTHON.parent / "weed"
_FAKE_GCS = _ROOT / ".cache" / "bin" / "fake-gcs-server"
_AZURITE = _ROOT / ".cache" / "azurite" / "node_modules" / ".bin" / "azurite-blob"
_START_S = 120.0
_STOP_S = 120.0

REGION = "us-east-1"
BUCKET = "audit"

AZURE_ACCOUNT = "devstoreaccount1"
AZURE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""Azurite's own account; the documentation has the key, it is no secret."""


def allow(actions: Sequence[str], keys: str) -> dict[str, Any]:
    """Return the policy document that allows ``actions`` on the objects ``keys``, and nothing else."""
    statement = {"Effect": "Allow", "Action": list(actions), "Resource": [f"arn:aws:s3:::{BUCKET}/{keys}"]}
    return {"Version": "2012-10-17", "Statement": [statement]}


POLICIES = {
    "put-only": allow(["s3:PutObject"], "*"),
    "alice-reads": allow(["s3:GetObject"], "isolation/cluster=default/user=alice/*"),
}
"""What the identities of those names may do; ``admin`` may do all, ``nobody`` nothing."""


def secret(identity: str) -> str:
    """Return the secret key of an identity of the S3 server; its access key is its name."""
    return f"secret-of-{identity}"


@contextlib.contextmanager
def seaweed(folder: Path) -> Iterator[str]:
    """Run SeaweedFS's S3 server with `POLICIES`; yield its URL."""
    port = free_port()
    settings = folder / "s3.json"
    settings.write_text(json.dumps(_s3_settings()))
    options = ["mini", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-s3.port={port}"]
    options += [f"-s3.config={settings}", "-s3.autoCreateBucket=false", "-s3.port.iceberg=0", "-s3.port.lance=0"]
    options += ["-webdav=false", "-admin.ui=false", "-master.telemetry=false"]
    url = f"http://127.0.0.1:{port}"
    with running(_WEED, options, f"{url}/healthz", folder, WEED_S3_SSE_KEY="of-the-tests"):
        yield url


def _s3_settings() -> dict[str, Any]:
    admin = {"name": "admin", "actions": ["Admin", "Read", "Write", "List", "Tagging"]}
    limited = [{"name": name, "policyNames": [name]} for name in POLICIES]
    identities = [admin, {"name": "nobody", "actions": []}, *limited]
    return {
        "identities": [
            {**identity, "credentials": [{"accessKey": identity["name"], "secretKey": secret(str(identity["name"]))}]}
            for identity in identities
        ],
        "policies": [{"name": name, "content": json.dumps(policy)} for name, policy in POLICIES.items()],
        "kms": {"default_provider": "local", "providers": {"local": {"type": "local", "enableOnDemandCreate": True}}},
    }


@contextlib.contextmanager
def fake_gcs(folder: Path) -> Iterator[str]:
    """Run fake-gcs-server; yield its URL."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    options = ["-scheme", "http", "-host", "127.0.0.1", "-port", str(port), "-backend", "memory"]
    options += ["-external-url", url, "-public-host", f"127.0.0.1:{port}", "-log-level", "error"]
    with running(_FAKE_GCS, options, f"{url}/_internal/healthcheck", folder):
        yield url


@contextlib.contextmanager
def azurite(folder: Path) -> Iterator[str]:
    """Run Azurite's blob server; yield the URL of its account."""
    port = free_port()
    url = f"http://127.0.0.1:{port}/{AZURE_ACCOUNT}"
    options = ["--inMemoryPersistence", "--silent", "--disableTelemetry", "--skipApiVersionCheck"]
    options += ["--blobHost", "127.0.0.1", "--blobPort", str(port)]
    with running(_AZURITE, options, f"{url}?comp=list", folder):
        yield url


def fingerprint(url: str) -> str:
    """Return the SHA-256 of the certificate that the server at ``url`` shows, in hexadecimal."""
    parts = urllib.parse.urlsplit(url)
    certificate = ssl.get_server_certificate((parts.hostname or "", parts.port or 443))
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(certificate)).hexdigest()


def free_port() -> int:
    """Return a free port; a low one, since SeaweedFS takes the one 10000 above it too."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = 11000 + int(probe.getsockname()[1]) % 8000
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)):
                return port


@contextlib.contextmanager
def running(program: Path, options: Sequence[str], url: str, folder: Path, **environ: str) -> Iterator[None]:
    """Run ``program``, wait until ``url`` answers, and end that very process afterwards."""
    with process(program, options, lambda: _answers(url), folder, **environ):
        yield


@contextlib.contextmanager
def process(
    program: Path, options: Sequence[str], ready: Callable[[], bool], folder: Path, **environ: str
) -> Iterator[subprocess.Popen[bytes]]:
    """Run ``program`` in ``folder``, yield it once it is ``ready``, and end that very process afterwards."""
    log = folder / "server.log"
    with log.open("wb") as out:
        started = subprocess.Popen(
            [str(program), *options], cwd=folder, stdout=out, stderr=out, env={**os.environ, **environ}
        )
    try:
        deadline = time.monotonic() + _START_S
        while not ready():
            if started.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{program} did not start: {log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.05)
        yield started
    finally:
        started.terminate()
        try:
            started.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            started.kill()
            started.wait()


def _answers(url: str) -> bool:
    """Return whether ``url`` gives an answer that is no server's fault; Azurite's is that one may not."""
    try:
        urllib.request.urlopen(url, timeout=2).close()
    except urllib.error.HTTPError as error:
        with error:
            return error.code < http.HTTPStatus.INTERNAL_SERVER_ERROR
    except OSError:
        return False
    return True
