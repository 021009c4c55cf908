"""A real kube-apiserver with an audit log and an audit webhook, and the etcd behind it."""

from __future__ import annotations

import contextlib
import csv
import gzip
import http
import http.client
import itertools
import json
import re
import subprocess
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from support.pki import Pki
from support.processes import BIN, free_port, kill, running, spawn, terminate, wait_until_ready

EVERYTHING = Path(__file__).parent / "everything.yaml"
"""A policy that records every request of everybody but the apiserver's own and the prober's, bodies and all."""

QUICK = ("--audit-webhook-batch-max-wait=300ms", "--audit-webhook-initial-backoff=1s")
"""Flags that change how long things take and nothing else: a batch's window is then 8 s and more."""

SMALL_BATCHES = (*QUICK, "--audit-webhook-batch-max-size=10", "--audit-webhook-initial-backoff=2s")
"""Tries a batch for 16 s and more."""

STOP_S = 150.0
"""Longer than any batch is tried, since SIGTERM waits for those that are under way."""

PROBER = "prober"
USERS: Mapping[str, tuple[str, ...]] = {
    PROBER: ("system:masters",),
    "admin": ("system:masters",),
    "alice@example.com": ("dev", "qa"),
    "bob": (),
    "Bob": ("dev",),
    "a/b": ("dev",),
    "../../etc/passwd": ("dev",),
    "Carol Test User": ("dev",),
    "system:serviceaccount:ns:x": ("system:serviceaccounts",),
    "ユーザー-ünï 😀": ("dev",),
    "l" * 300: ("dev",),
    "_rejected": ("dev",),
}
"""Users in the token file with their groups; a user's token is `token` of the name."""

_LOST = re.compile(r"Error in audit plugin '(\w+)(?:<[^']*>)?' affecting (\d+) audit events")
_prefixes = itertools.count()


class Answer(NamedTuple):
    """What the apiserver said."""

    status: int
    body: bytes


class Metrics(NamedTuple):
    """``apiserver_audit_event_total``, and ``apiserver_audit_error_total`` by plugin where it isn't 0."""

    events: int
    errors: dict[str, int]


def token(user: str) -> str:
    """Return the token of a user in `USERS`."""
    return f"token-{uuid.uuid5(uuid.NAMESPACE_OID, user)}"


def kubeconfig(port: int, ca: Path) -> str:
    """Return the administrator's kubeconfig for the apiserver on a port."""
    cluster = {"server": f"https://127.0.0.1:{port}", "certificate-authority": str(ca)}
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "test", "cluster": cluster}],
        "users": [{"name": "admin", "user": {"token": token("admin")}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "admin"}}],
        "current-context": "test",
    }
    return json.dumps(document)


@contextlib.contextmanager
def etcd(folder: Path) -> Iterator[str]:
    """Run etcd; yield its URL."""
    url, peer = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
    options: list[str | Path] = [
        "--data-dir",
        folder / "data",
        "--listen-client-urls",
        url,
        "--advertise-client-urls",
        url,
    ]
    options += ["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster"]
    options += [f"default={peer}", "--unsafe-no-fsync", "--log-level", "warn"]

    def ready() -> bool:
        connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=2)
        with contextlib.closing(connection):
            connection.request("GET", "/health")
            return connection.getresponse().status == http.HTTPStatus.OK

    with running([BIN / "etcd", *options], folder / "etcd.log", ready):
        yield url


class Apiserver:
    """A kube-apiserver of its own cluster; ``log`` is what it says, ``audit_log`` what its log backend wrote."""

    def __init__(self, folder: Path, pki: Pki, etcd_url: str) -> None:
        """Name its files below ``folder``; nothing runs yet."""
        self.port = free_port()
        self.log, self.audit_log_path, self._folder = folder / "apiserver.log", folder / "audit.log", folder
        self._pki, self._etcd, self._trusting = pki, etcd_url, pki.trusting()
        self._prefix = next(_prefixes)
        self._process: subprocess.Popen[bytes] | None = None
        self.disabled_admission = ["ServiceAccount"]
        """Admission plugins. Without this one, pods need no ServiceAccount, and get no token."""

    def start(self, kubeconfig: Path | None, policy: Path = EVERYTHING, flags: Sequence[str] = QUICK) -> None:
        """Start it with the audit files and flags; `NotStarted` where it does not like them.

        Without a ``kubeconfig`` it only writes its audit log.
        """
        self._folder.mkdir(exist_ok=True)
        tokens = self._folder / "tokens.csv"
        with tokens.open("w", newline="") as out:
            csv.writer(out).writerows([token(user), user, "", ",".join(groups)] for user, groups in USERS.items())
        command: list[str | Path] = [BIN / "kube-apiserver", *self._flags(tokens)]
        command += [f"--audit-policy-file={policy}", *flags]
        if kubeconfig is not None:
            command.append(f"--audit-webhook-config-file={kubeconfig}")
        self._process = spawn(command, self.log, {})
        wait_until_ready(self._process, self.log, self._ready)

    def stop(self) -> None:
        """End it with SIGTERM and wait: it sends what it has, and tries again what is being tried."""
        if self._process is not None and self._process.poll() is None:
            terminate(self._process, STOP_S)

    def kill(self) -> None:
        """End it at once, wherever it is."""
        if self._process is not None:
            kill(self._process)

    def request(
        self,
        method: str,
        path: str,
        user: str | None = "admin",
        body: Any = None,
        headers: Sequence[tuple[str, str]] = (),
    ) -> Answer:
        """Return the answer to a request of ``user``, or of nobody; ``body`` is bytes, or what JSON is made of."""
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, context=self._trusting, timeout=60)
        text = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        sent = [("User-Agent", "e2e"), *headers]
        if user is not None:
            sent.append(("Authorization", f"Bearer {token(user)}"))
        if text is not None:
            sent.append(("Content-Length", str(len(text))))
        with contextlib.closing(connection):
            connection.putrequest(method, path, skip_accept_encoding=True)
            for name, value in sent:
                connection.putheader(name, value.encode())
            connection.endheaders(text)
            response = connection.getresponse()
            return Answer(response.status, response.read())

    def metrics_text(self) -> str:
        """Return its metrics as Prometheus reads them."""
        return self.request("GET", "/metrics", PROBER).body.decode()

    def metrics(self) -> Metrics:
        """Return what it has counted so far."""
        text = self.metrics_text()
        events = re.search(r"^apiserver_audit_event_total (\S+)", text, re.MULTILINE)
        errors = re.findall(r'^apiserver_audit_error_total\{plugin="(\w+)"\} (\S+)', text, re.MULTILINE)
        counted = {plugin: int(float(count)) for plugin, count in errors}
        return Metrics(
            int(float(events[1])) if events else 0, {plugin: count for plugin, count in counted.items() if count}
        )

    def audit_log(self) -> list[bytes]:
        """Return the whole lines of its own audit log."""
        text = self.audit_log_path.read_bytes() if self.audit_log_path.exists() else b""
        return text.split(b"\n")[:-1]

    def rotated_logs(self) -> list[bytes]:
        """Return the whole lines of its audit log and of all its rotated files, which may be compressed."""
        lines = []
        for path in sorted(self._folder.glob("audit-*.log*")):
            text = path.read_bytes()
            lines += (gzip.decompress(text) if path.suffix == ".gz" else text).split(b"\n")[:-1]
        return lines + self.audit_log()

    def lost(self) -> dict[str, int]:
        """Return how many events it says it lost, by plugin: the metric's figures, but to its very end."""
        found: Counter[str] = Counter()
        for plugin, count in _LOST.findall(self.log.read_text(errors="replace")):
            found[plugin] += int(count)
        return dict(found)

    def _ready(self) -> bool:
        return self.request("GET", "/readyz", PROBER).status == http.HTTPStatus.OK

    def _flags(self, tokens: Path) -> list[str]:
        pki = self._pki
        return [
            f"--etcd-servers={self._etcd}",
            f"--etcd-prefix=/cluster-{self._prefix}",
            "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1",
            f"--secure-port={self.port}",
            "--endpoint-reconciler-type=none",
            f"--tls-cert-file={pki.apiserver.certificate}",
            f"--tls-private-key-file={pki.apiserver.key}",
            f"--client-ca-file={pki.ca}",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={pki.service_account.certificate}",
            f"--service-account-signing-key-file={pki.service_account.key}",
            "--service-cluster-ip-range=10.96.0.0/16",
            "--authorization-mode=Node,RBAC",
            f"--token-auth-file={tokens}",
            f"--disable-admission-plugins={','.join(self.disabled_admission)}",
            f"--audit-log-path={self.audit_log_path}",
            "--shutdown-delay-duration=0s",
        ]
