"""One cluster's entry, from the command line or a list, and the kubeconfig that is made from it."""

from __future__ import annotations

import base64
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import msgspec

from auditsplit import auth
from auditsplit.auth import TokenHash
from auditsplit.webhook.kubeconfig import credentials, schema
from auditsplit.webhook.kubeconfig.schema import Cluster, Exec, Kubeconfig, User

_TOKEN_OUTPUT = re.compile(r"token: (\S+)\r?\nAUDIT_TOKENS=.*\s*")


class Entry(msgspec.Struct, frozen=True, rename="kebab", forbid_unknown_fields=True, kw_only=True):
    """One cluster. The fields are the options of ``auditsplit kubeconfig create``.

    The files in ``…_from`` are read now. All other paths are on the apiserver's machine and are written as they are,
    unless ``embed`` is set.
    """

    name: str
    server: str
    token_from: str = ""
    token_file: str = ""
    basic: str = ""
    password_from: str = ""
    client_certificate: str = ""
    client_key: str = ""
    embed: bool = False
    exec_command: str = ""
    exec_args: list[str] = []
    exec_env: dict[str, str] = {}
    gcloud_identity_token: bool = False
    no_credentials: bool = False
    ca_file: str = ""
    ca_data_from: str = ""
    tls_server_name: str = ""
    proxy_url: str = ""
    insecure_skip_tls_verify: bool = False

    def mistakes(self) -> list[str]:
        """Return the mistakes in the name and in the combination of options, by the options' names."""
        return [*self._kind_mistakes(), *self._combination_mistakes(), *self._name_mistakes()]

    def _kind_mistakes(self) -> Iterator[str]:
        kinds = {
            "token-from": self.token_from,
            "token-file": self.token_file,
            "basic": self.basic,
            "client-certificate": self.client_certificate,
            "exec-command": self.exec_command,
            "gcloud-identity-token": self.gcloud_identity_token,
            "no-credentials": self.no_credentials,
        }
        given = [name for name, value in kinds.items() if value]
        if len(given) > 1:
            yield f"{' and '.join(given)}: choose one kind of credentials"

    def _combination_mistakes(self) -> Iterator[str]:
        pairs = (
            ("basic", self.basic, "password-from", self.password_from),
            ("client-certificate", self.client_certificate, "client-key", self.client_key),
        )
        for first, first_value, second, second_value in pairs:
            if bool(first_value) != bool(second_value):
                yield f"{first} and {second} go together. Write both or neither"
        dependent = (
            ("embed", self.embed, "client-certificate", self.client_certificate),
            ("exec-arg", self.exec_args, "exec-command", self.exec_command),
            ("exec-env", self.exec_env, "exec-command", self.exec_command),
        )
        for option, value, required, required_value in dependent:
            if value and not required_value:
                yield f"{option} requires {required}"
        if self.ca_file and self.ca_data_from:
            yield "ca-file and ca-data-from: choose one"

    def _name_mistakes(self) -> Iterator[str]:
        try:
            auth.check_cluster(self.name)
        except ValueError as error:
            yield str(error)

    @property
    def makes_token(self) -> bool:
        """Whether a token is made, because no kind of credentials is given."""
        others = (self.token_from, self.token_file, self.basic, self.client_certificate, self.exec_command)
        return not (any(others) or self.gcloud_identity_token or self.no_credentials)


class Made(NamedTuple):
    """A kubeconfig, and the hash of the token in it. None if it has no token."""

    document: Kubeconfig
    hash: TokenHash | None


def make(entry: Entry, folder: Path, kept: str = "") -> Made:
    """Return the kubeconfig for ``entry``.

    Args:
        entry: An entry without mistakes.
        folder: Where relative paths in ``…_from`` start. ``-`` is standard input.
        kept: The token to use if the entry has no credentials. A new one is made if this is empty.

    Raises:
        OSError: A file cannot be read.
        ValueError: A file with a secret is empty.
    """
    user = _user(entry, folder, kept)
    ca = _read(entry.ca_data_from, folder) if entry.ca_data_from else b""
    cluster = Cluster(
        server=_server(entry),
        tls_server_name=entry.tls_server_name,
        insecure_skip_tls_verify=entry.insecure_skip_tls_verify,
        certificate_authority=entry.ca_file,
        certificate_authority_data=base64.b64encode(ca).decode(),
        proxy_url=entry.proxy_url,
    )
    sent = TokenHash.of(entry.name, user.token) if user and user.token else None
    return Made(schema.build(cluster, user), sent)


def _server(entry: Entry) -> str:
    """Return the server, with the cluster's path if it has no path. With it, another cluster's token is refused.

    A server that is not a valid URL or has a query stays as it is. The rules report it.
    """
    try:
        url = urlsplit(entry.server)
    except ValueError:
        return entry.server
    if not url.netloc or url.query or url.fragment or url.path not in ("", "/"):
        return entry.server
    return f"{entry.server.rstrip('/')}/clusters/{entry.name}"


def _user(entry: Entry, folder: Path, kept: str) -> User | None:
    if entry.no_credentials:
        return None
    if entry.makes_token:
        return User(token=kept or auth.new_token(entry.name)[0])
    if entry.exec_command or entry.gcloud_identity_token:
        return User(exec=_exec(entry))
    if entry.client_certificate:
        return _certificate(entry, folder)
    if entry.basic:
        return User(username=entry.basic, password=_line(entry.password_from, folder))
    return User(token=_line(entry.token_from, folder)) if entry.token_from else User(token_file=entry.token_file)


def _exec(entry: Entry) -> Exec:
    if entry.exec_command:
        return credentials.exec_of(entry.exec_command, entry.exec_args, entry.exec_env)
    url = urlsplit(entry.server)
    return credentials.gcloud_identity_token(f"{url.scheme}://{url.netloc}")


def _certificate(entry: Entry, folder: Path) -> User:
    if not entry.embed:
        return User(client_certificate=entry.client_certificate, client_key=entry.client_key)
    return User(
        client_certificate_data=base64.b64encode(_read(entry.client_certificate, folder)).decode(),
        client_key_data=base64.b64encode(_read(entry.client_key, folder)).decode(),
    )


def _line(path: str, folder: Path) -> str:
    """Return a secret without the line break that editors append. The rules report any other line break.

    The output of ``auditsplit token`` is accepted too.
    """
    text = _read(path, folder).decode("utf-8", "surrogateescape")
    printed = _TOKEN_OUTPUT.fullmatch(text)
    secret = printed[1] if printed else text.removesuffix("\n").removesuffix("\r")
    if not secret:
        raise ValueError(f"{path}: the file is empty, expected a secret")
    return secret


def _read(path: str, folder: Path) -> bytes:
    return sys.stdin.buffer.read() if path == "-" else (folder / path).read_bytes()
