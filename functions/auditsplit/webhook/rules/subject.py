"""The kubeconfig that the rules check, and the types of a rule and of its finding."""

from __future__ import annotations

import base64
import binascii
import ipaddress
import os
import re
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import SplitResult, urlsplit

from auditsplit.webhook.client import clean_path
from auditsplit.webhook.kubeconfig import files
from auditsplit.webhook.kubeconfig.schema import Cluster, Exec, Kubeconfig, User

ERROR, WARNING = "error", "warning"

_CLUSTER_PATH = re.compile(r"/clusters(?:/([^/]*))?\Z")


class Finding(NamedTuple):
    """A fault of a kubeconfig, or of the answer to a probe.

    ``rule`` is the fault's name. ``reason`` says what happens and what to do. No secret of the kubeconfig is in it,
    unless the server's answer repeats it.
    """

    level: str
    rule: str
    reason: str

    def __str__(self) -> str:
        """Return a line for a person."""
        return f"{self.level}: {self.rule}: {self.reason}"


class Subject:
    """A kubeconfig with its folder and mode, and what rules ask about it."""

    def __init__(self, document: Kubeconfig, folder: Path, mode: int = 0) -> None:
        """Keep the ``document``.

        Args:
            document: The kubeconfig.
            folder: Where its relative paths start.
            mode: The permissions of its file. 0 if there is no file.
        """
        self.document, self.folder, self.mode = document, folder, mode
        self.cluster: Cluster = document.cluster
        self.user: User = document.user

    @property
    def exec(self) -> Exec:
        """The user's program. An empty one if there is none."""
        return self.user.exec or Exec()

    @cached_property
    def url(self) -> SplitResult:
        """The server with its path as kube-apiserver cleans it. Without a host if the server is not a valid URL."""
        try:
            url = urlsplit(self.cluster.server)
            _ = url.port
        except ValueError:
            return urlsplit("")
        return url._replace(path=clean_path(url.path))

    @property
    def host(self) -> str:
        """The server's host in lower case, or nothing."""
        return (self.url.hostname or "").rstrip(".")

    @property
    def https(self) -> bool:
        """Whether the server's scheme is ``https``."""
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
        """The cluster in the server's path. None if the path names none."""
        match = _CLUSTER_PATH.search(self.url.path)
        return (match[1] or "") if match else None

    def read(self, path: str) -> bytes | None:
        """Return the content of the file at ``path``. None without a path, or if the file cannot be read here."""
        try:
            return files.resolve(path, self.folder).read_bytes() if path else None
        except OSError:
            return None

    def exists(self, path: str) -> bool:
        """Return whether ``path`` is a file that can be read or run here."""
        file = files.resolve(path, self.folder)
        return file.is_file() and (os.access(file, os.R_OK) or os.access(file, os.X_OK))

    def pem(self, data: str, path: str) -> bytes | None:
        """Return the bytes in the base64 ``data``, or else in the file at ``path``.

        None if there is neither. Empty if ``data`` is not valid base64.
        """
        try:
            return base64.b64decode("".join(data.split()), validate=True) if data else self.read(path)
        except (binascii.Error, ValueError):
            return b""


class Rule(NamedTuple):
    """A fault that a kubeconfig may have.

    ``applies`` returns a true value if the kubeconfig has the fault. ``reason`` says what happens then and what to do.
    ``about``, if given, returns the thing at fault, which replaces ``{}`` in ``reason``. It must not return a secret.
    """

    level: str
    name: str
    applies: Callable[[Subject], Any]
    reason: str
    about: Callable[[Subject], str] | None = None
