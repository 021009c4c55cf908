"""The format of an audit webhook's kubeconfig: read, written and redacted.

``--audit-webhook-config-file`` names a kubeconfig in kubectl's format, `k8s.io/client-go/tools/clientcmd/api/v1
<https://pkg.go.dev/k8s.io/client-go/tools/clientcmd/api/v1>`_. kube-apiserver uses only its current context. The
context's cluster is the function, and its user holds the credentials for it. kube-apiserver reads the file once, when
it starts.
"""

from __future__ import annotations

import re
from typing import Any, TypeVar

import msgspec
import yaml
from yaml.composer import ComposerError

NAME = "auditsplit"
"""The name of the cluster, the context and the user in a kubeconfig that `build` returns."""

EXEC_API_VERSION = "client.authentication.k8s.io/v1"
"""The version of the protocol between kube-apiserver and an ``exec`` program."""


class Cluster(msgspec.Struct, frozen=True, omit_defaults=True, rename="kebab"):
    """The server, and how to trust it."""

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
    """The credentials for the server."""

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
        """Whether the user has a client certificate, in a file or as data."""
        return bool(self.client_certificate or self.client_certificate_data)

    @property
    def has_bearer(self) -> bool:
        """Whether the user's credentials lead to an ``Authorization: Bearer`` header."""
        return bool(self.token or self.token_file or self.exec)

    @property
    def has_credentials(self) -> bool:
        """Whether the user has credentials of any kind."""
        return self.has_bearer or self.has_certificate or bool(self.username or self.password or self.auth_provider)


class Context(msgspec.Struct, frozen=True, omit_defaults=True):
    """A cluster and a user that go together."""

    cluster: str = ""
    user: str = ""
    namespace: str = ""
    extensions: list[Any] = []


class NamedCluster(msgspec.Struct, frozen=True):
    """A cluster with its name."""

    name: str = ""
    cluster: Cluster = Cluster()


class NamedContext(msgspec.Struct, frozen=True):
    """A context with its name."""

    name: str = ""
    context: Context = Context()


class NamedUser(msgspec.Struct, frozen=True):
    """A user with its name."""

    name: str = ""
    user: User = User()


class Kubeconfig(msgspec.Struct, frozen=True, rename="kebab"):
    """The document. ``current_context`` names the context that kube-apiserver uses."""

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
        """The current context. None if no context has that name."""
        return next((named.context for named in self.contexts if named.name == self.current_context), None)

    @property
    def cluster(self) -> Cluster:
        """The current context's cluster. An empty cluster if it does not exist."""
        name = self.context.cluster if self.context else None
        return next((named.cluster for named in self.clusters if named.name == name), Cluster())

    @property
    def user(self) -> User:
        """The current context's user. If it does not exist, a user without credentials, as for the apiserver."""
        name = self.context.user if self.context else None
        return next((named.user for named in self.users if named.name == name), User())


def build(cluster: Cluster, user: User | None) -> Kubeconfig:
    """Return a kubeconfig whose current context has ``cluster`` and ``user``. None stands for no credentials."""
    return Kubeconfig(
        api_version="v1",
        kind="Config",
        clusters=[NamedCluster(NAME, cluster)],
        contexts=[NamedContext(NAME, Context(NAME, NAME if user else ""))],
        current_context=NAME,
        users=[NamedUser(NAME, user)] if user else [],
    )


def parse(text: str) -> Any:
    """Return the YAML or JSON document without its nulls, which Go ignores.

    Raises:
        ValueError: ``text`` is not valid YAML, or has an alias. The message has the line and column. It quotes nothing.
    """
    try:
        return _without_nulls(yaml.load(text, _Loader))  # noqa: S506 - it is a SafeLoader
    except (yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        problem = getattr(error, "problem", None) or "unreadable"
        unquoted = re.sub("'.*'", "…", problem, flags=re.DOTALL)  # the quote may hold a token
        raise ValueError(f"{where}not valid YAML ({unquoted})") from None


def decode(document: Any) -> Kubeconfig:
    """Return the kubeconfig in a parsed ``document``.

    Raises:
        ValueError: A field has a value of the wrong type. The message names the field.
    """
    return msgspec.convert(document, Kubeconfig)


def encode(document: Kubeconfig) -> str:
    """Return the document as YAML, which `parse` and `decode`, and Go's YAML libraries, read back."""
    return yaml.dump(msgspec.to_builtins(document), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=1000)


def redacted(document: Kubeconfig) -> Kubeconfig:
    """Return the document with ``(not shown)`` for every token, password and client key in it.

    An ``exec`` program's arguments and environment are kept. They may hold a secret too.
    """
    users = [NamedUser(named.name, _redacted(named.user)) for named in document.users]
    return msgspec.structs.replace(document, users=users)


def _redacted(user: User) -> User:
    hidden = {name: "(not shown)" for name in ("token", "password", "client_key_data") if getattr(user, name)}
    return msgspec.structs.replace(user, **hidden)


_T = TypeVar("_T")


def _without_nulls(value: _T) -> _T | list[Any] | dict[Any, Any]:
    if isinstance(value, dict):
        return {name: _without_nulls(item) for name, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_nulls(item) for item in value if item is not None]
    return value


class _Loader(yaml.SafeLoader):
    """Refuses aliases. With a few of them a small file stands for a document larger than the memory."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Return the next node."""
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise ComposerError(problem="aliases are not accepted. Write the value out", problem_mark=mark)
        return super().compose_node(parent, index)


class _Dumper(yaml.SafeDumper):
    """Quotes all text except plain words. Go's YAML reads ``y`` as true and ``1e5`` as a number, Python's does not."""


_PLAIN = re.compile(r"(?!(?:y|n|yes|no|on|off|true|false|null)\Z)[a-z/][a-z0-9./:_-]*", re.ASCII | re.IGNORECASE)


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if text.strip("\n") == text[:-1] and "\n" in text[:-1] else None if _PLAIN.fullmatch(text) else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)
