"""The kubeconfig of an audit webhook: its format, read and written.

What ``--audit-webhook-config-file`` names is a kubeconfig as kubectl has it, `k8s.io/client-go/tools/clientcmd/api/v1
<https://pkg.go.dev/k8s.io/client-go/tools/clientcmd/api/v1>`_. kube-apiserver takes one context of it, the current
one: its cluster is the function, its user what the apiserver shows there. It reads the file once, when it starts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, TypeVar

import msgspec
import yaml

NAME = "auditsplit"
"""The name that the cluster, the context and the user have in what is written here."""

EXEC_API_VERSION = "client.authentication.k8s.io/v1"
"""The version in which an ``exec`` program is asked and answers."""


class Cluster(msgspec.Struct, frozen=True, omit_defaults=True, rename="kebab"):
    """Where to post, and how to know that it is there."""

    server: str = ""
    tls_server_name: str = ""
    insecure_skip_tls_verify: bool = False
    certificate_authority: str = ""
    certificate_authority_data: str = ""
    proxy_url: str = ""
    disable_compression: bool = False
    extensions: list[Any] = []


class Variable(msgspec.Struct, frozen=True):
    """An environment variable of an ``exec`` program."""

    name: str = ""
    value: str = ""


class Exec(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """A program that prints a credential as an ``ExecCredential``."""

    api_version: str = ""
    command: str = ""
    args: list[str] = []
    env: list[Variable] = []
    install_hint: str = ""
    provide_cluster_info: bool = False
    interactive_mode: str = ""


class User(msgspec.Struct, frozen=True, omit_defaults=True, rename="kebab"):
    """What the apiserver shows; without any of it, nothing."""

    token: str = ""
    token_file: str = msgspec.field(default="", name="tokenFile")
    username: str = ""
    password: str = ""
    client_certificate: str = ""
    client_certificate_data: str = ""
    client_key: str = ""
    client_key_data: str = ""
    exec: Exec | None = None
    as_: str = msgspec.field(default="", name="as")
    as_uid: str = ""
    as_groups: list[str] = []
    as_user_extra: dict[str, list[str]] = {}
    auth_provider: dict[str, Any] | None = None
    extensions: list[Any] = []

    @property
    def has_certificate(self) -> bool:
        """Whether it has a client certificate, in a file or as data."""
        return bool(self.client_certificate or self.client_certificate_data)

    @property
    def has_bearer(self) -> bool:
        """Whether it comes to an ``Authorization: Bearer`` header."""
        return bool(self.token or self.token_file or self.exec)

    @property
    def has_credentials(self) -> bool:
        """Whether it has anything to show."""
        return self.has_bearer or self.has_certificate or bool(self.username or self.password or self.auth_provider)


class Context(msgspec.Struct, frozen=True, omit_defaults=True):
    """Which cluster with which user."""

    cluster: str = ""
    user: str = ""
    namespace: str = ""
    extensions: list[Any] = []


class NamedCluster(msgspec.Struct, frozen=True):
    """A cluster by name."""

    name: str = ""
    cluster: Cluster = Cluster()


class NamedContext(msgspec.Struct, frozen=True):
    """A context by name."""

    name: str = ""
    context: Context = Context()


class NamedUser(msgspec.Struct, frozen=True):
    """A user by name."""

    name: str = ""
    user: User = User()


class Kubeconfig(msgspec.Struct, frozen=True, rename="kebab"):
    """The document. `current` picks what counts."""

    api_version: str = msgspec.field(default="", name="apiVersion")
    kind: str = ""
    clusters: list[NamedCluster] = []
    contexts: list[NamedContext] = []
    current_context: str = ""
    users: list[NamedUser] = []
    preferences: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET
    extensions: list[Any] | msgspec.UnsetType = msgspec.UNSET

    @property
    def context(self) -> Context | None:
        """The current context; None where there is none of that name."""
        return next((named.context for named in self.contexts if named.name == self.current_context), None)

    @property
    def cluster(self) -> Cluster:
        """The current context's cluster; an empty one where there is none."""
        wanted = self.context.cluster if self.context else None
        return next((named.cluster for named in self.clusters if named.name == wanted), Cluster())

    @property
    def user(self) -> User:
        """The current context's user; one without credentials where there is none, as the apiserver takes it."""
        wanted = self.context.user if self.context else None
        return next((named.user for named in self.users if named.name == wanted), User())


def build(cluster: Cluster, user: User | None) -> Kubeconfig:
    """Return the document that has ``cluster`` and ``user``, None for no credentials, as its current context."""
    return Kubeconfig(
        api_version="v1",
        kind="Config",
        clusters=[NamedCluster(NAME, cluster)],
        contexts=[NamedContext(NAME, Context(NAME, NAME if user else ""))],
        current_context=NAME,
        users=[NamedUser(NAME, user)] if user else [],
    )


def parse(text: str) -> Any:
    """Return the YAML or JSON document without its nulls, which mean nothing to Go; ``ValueError`` where it is none."""
    try:
        return _without_nulls(yaml.safe_load(text))
    except (yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        problem = re.sub(
            "'.*'", "…", getattr(error, "problem", None) or "unreadable", flags=re.DOTALL
        )  # it may quote a token
        raise ValueError(f"{where}this is no YAML ({problem})") from None


def decode(document: Any) -> Kubeconfig:
    """Return what a parsed ``document`` says; ``ValueError`` names the field that has a value of another type."""
    return msgspec.convert(document, Kubeconfig)


def encode(document: Kubeconfig) -> str:
    """Return the YAML: what `parse` and `decode` read back, and Go's YAML libraries likewise."""
    return yaml.dump(msgspec.to_builtins(document), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=1000)


def redacted(document: Kubeconfig) -> Kubeconfig:
    """Return the document for a human's eyes: its secrets are not in it."""
    users = [NamedUser(named.name, _redacted(named.user)) for named in document.users]
    return msgspec.structs.replace(document, users=users)


def _redacted(user: User) -> User:
    hidden = {name: "(not shown)" for name in ("token", "password", "client_key_data") if getattr(user, name)}
    return msgspec.structs.replace(user, **hidden)


def unknown(document: Any) -> Iterator[tuple[str, list[str]]]:
    """Yield the path of each field that the format doesn't have, with the fields that stand beside it."""
    yield from _unknown(document, msgspec.inspect.type_info(Kubeconfig), "")


def _unknown(value: Any, kind: msgspec.inspect.Type, path: str) -> Iterator[tuple[str, list[str]]]:
    if isinstance(kind, msgspec.inspect.UnionType):
        kind = kind.types[0]
    if isinstance(kind, msgspec.inspect.ListType) and isinstance(value, list):
        for number, item in enumerate(value):
            yield from _unknown(item, kind.item_type, f"{path}[{number}]")
    if isinstance(kind, msgspec.inspect.StructType) and isinstance(value, dict):
        fields = {field.encode_name: field.type for field in kind.fields}
        for name, item in value.items():
            if name in fields:
                yield from _unknown(item, fields[name], f"{path}.{name}")
            else:
                yield f"{path}.{name}".lstrip("."), list(fields)


_T = TypeVar("_T")


def _without_nulls(value: _T) -> _T | list[Any] | dict[Any, Any]:
    if isinstance(value, dict):
        return {name: _without_nulls(item) for name, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_nulls(item) for item in value if item is not None]
    return value


class _Dumper(yaml.SafeDumper):
    """Quotes all but plain words: Go's YAML reads ``y`` as true and ``1e5`` as a number, Python's does not."""


_PLAIN = re.compile(r"(?!(?:y|n|yes|no|on|off|true|false|null)\Z)[a-z/][a-z0-9./:_-]*", re.ASCII | re.IGNORECASE)


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if text.strip("\n") == text[:-1] and "\n" in text[:-1] else None if _PLAIN.fullmatch(text) else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)
