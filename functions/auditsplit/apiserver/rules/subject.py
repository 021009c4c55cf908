"""A kubeconfig as the rules look at it, and what a rule and its finding are."""

from __future__ import annotations

import base64
import binascii
import ipaddress
import posixpath
import re
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import SplitResult, urlsplit

from auditsplit.apiserver.kubeconfig import files
from auditsplit.apiserver.kubeconfig.schema import Cluster, Exec, Kubeconfig, User

ERROR, WARNING = "error", "warning"

_CLUSTER_PATH = re.compile(r"/clusters(?:/([^/]*))?\Z")


class Finding(NamedTuple):
    """A fault of a kubeconfig: ``rule`` is its name, ``reason`` what happens and what to do; never holds a secret."""

    level: str
    rule: str
    reason: str

    def __str__(self) -> str:
        """Return it as a line."""
        return f"{self.level}: {self.rule}: {self.reason}"


class Subject:
    """A kubeconfig as the rules look at it: its relative paths start at ``folder``; ``mode`` is 0 without a file."""

    def __init__(self, document: Kubeconfig, folder: Path, mode: int = 0) -> None:
        """Take the document."""
        self.document, self.folder, self.mode = document, folder, mode
        self.cluster: Cluster = document.cluster
        self.user: User = document.user

    @property
    def exec(self) -> Exec:
        """The user's program; an empty one where there is none."""
        return self.user.exec or Exec()

    @cached_property
    def url(self) -> SplitResult:
        """The server, with its path as kube-apiserver cleans it; without a host where it is no URL."""
        try:
            url = urlsplit(self.cluster.server)
            _ = url.port
        except ValueError:
            return urlsplit("")
        return url._replace(path=cleaned(url.path))

    @property
    def host(self) -> str:
        """The server's host in lower case, or nothing."""
        return (self.url.hostname or "").rstrip(".")

    @property
    def https(self) -> bool:
        """Whether the server is one of https."""
        return self.url.scheme == "https"

    @cached_property
    def local(self) -> bool:
        """Whether the server is on the apiserver's own machine."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    @property
    def named_cluster(self) -> str | None:
        """The cluster in the server's path; None where the path names none."""
        found = _CLUSTER_PATH.search(self.url.path)
        return (found[1] or "") if found else None

    def read(self, path: str) -> bytes | None:
        """Return what the file of that ``path`` has; None where this machine has none to read."""
        try:
            return files.resolve(path, self.folder).read_bytes() if path else None
        except OSError:
            return None

    def pem(self, data: str, path: str) -> bytes | None:
        """Return what the base64 ``data``, or else the file, has; None where there is neither, or it is broken."""
        try:
            return base64.b64decode("".join(data.split()), validate=True) if data else self.read(path)
        except (binascii.Error, ValueError):
            return b""


def cleaned(path: str) -> str:
    """Return a server's path as kube-apiserver sends it: no ``//``, ``.`` or ``..``, and no slash at its end."""
    return posixpath.normpath(f"/{path.lstrip('/')}").rstrip("/")


class Rule(NamedTuple):
    """A fault by name: ``applies`` says whether it is there, ``reason`` what happens then and what to do.

    ``about`` adds what it is about; never a secret.
    """

    level: str
    name: str
    applies: Callable[[Subject], Any]
    reason: str
    about: Callable[[Subject], str] | None = None
