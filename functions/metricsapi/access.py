"""Who asks, and whether that user may. kube-apiserver decides both, except for what the front proxy vouches for."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Generic, NamedTuple, TypeVar
from urllib.parse import unquote

from auditsplit.serve.messages import Request
from metricsapi.apiserver import Apiserver
from metricsapi.errors import Forbidden, Unauthorized
from metricsapi.frontproxy import FrontProxy
from metricsapi.objects import GROUP

T = TypeVar("T")
_CACHE_S = 10.0  # as metrics-server has it
_CACHED = 4096
_TOKEN_CHARACTERS = 16 * 1024
_AUTHENTICATED = "system:authenticated"
_MASTERS = "system:masters"


class User(NamedTuple):
    """A user, as kube-apiserver knows it."""

    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: tuple[tuple[str, tuple[str, ...]], ...] = ()


ANONYMOUS = User("system:anonymous", ("system:unauthenticated",))


class Attributes(NamedTuple):
    """What a user wants to do: a verb on a resource of the group, or on a path."""

    verb: str
    path: str
    resource: str = ""
    namespace: str = ""
    name: str = ""

    def spec(self) -> dict[str, Any]:
        """Return the member of a SubjectAccessReview that names this."""
        if not self.resource:
            return {"nonResourceAttributes": {"path": self.path, "verb": self.verb}}
        named = {"verb": self.verb, "group": GROUP, "version": "v1beta1", "resource": self.resource}
        return {"resourceAttributes": {**named, "namespace": self.namespace, "name": self.name}}

    def refusal(self, user: str, reason: str = "") -> Forbidden:
        """Return the refusal in Kubernetes' own words."""
        because = f": {reason}" if reason else ""
        if not self.resource:
            return Forbidden(f'forbidden: User "{user}" cannot {self.verb} path "{self.path}"{because}', {})
        details = {"name": self.name, "group": GROUP, "kind": self.resource}
        where = f'in the namespace "{self.namespace}"' if self.namespace else "at the cluster scope"
        name = f' "{self.name}"' if self.name else ""
        return Forbidden(
            f'{self.resource}.{GROUP}{name} is forbidden: User "{user}" cannot {self.verb} resource '
            f'"{self.resource}" in API group "{GROUP}" {where}{because}',
            {member: value for member, value in details.items() if value},
        )


class Access:
    """Authenticates and authorizes. All methods but the constructor run in a `Loop`."""

    def __init__(self, apiserver: Apiserver) -> None:
        """Keep the server that reviews tokens and access."""
        self._apiserver = apiserver
        self._tokens: _Cache[User | None] = _Cache()
        self._decisions: _Cache[tuple[bool, str]] = _Cache()

    async def authenticate(self, request: Request, proxy: FrontProxy | None) -> User:
        """Return who asks, `ANONYMOUS` where the request has no credentials.

        Args:
            request: the request.
            proxy: the front proxy's configuration, None where the request has no client certificate.

        Raises:
            Unauthorized: The request has credentials that are not valid.
        """
        if proxy is not None:
            return _proxied(request, proxy)
        scheme, _, token = request.headers.get("authorization", "").strip().partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token:
            return ANONYMOUS
        if len(token) > _TOKEN_CHARACTERS:
            raise Unauthorized("Unauthorized")
        digest = hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
        user = await self._tokens.get(digest, lambda: self._review(token))
        if user is None:
            raise Unauthorized("Unauthorized")
        return user

    async def authorize(self, user: User, attributes: Attributes) -> None:
        """Return if the user may do this. Raises `Forbidden` otherwise, without a review where the user is unknown."""
        if user is ANONYMOUS:
            raise attributes.refusal(user.name)
        if _MASTERS in user.groups:
            return
        allowed, reason = await self._decisions.get((user, attributes), lambda: self._decide(user, attributes))
        if not allowed:
            raise attributes.refusal(user.name, reason)

    async def _review(self, token: str) -> User | None:
        status = await self._apiserver.review("TokenReview", {"token": token})
        user = status.get("user")
        if status.get("authenticated") is not True or not isinstance(user, dict):
            return None
        extra = tuple((str(key), tuple(values)) for key, values in (user.get("extra") or {}).items())
        return User(str(user.get("username", "")), tuple(user.get("groups") or ()), str(user.get("uid", "")), extra)

    async def _decide(self, user: User, attributes: Attributes) -> tuple[bool, str]:
        extra = {key: list(values) for key, values in user.extra}
        who = {"user": user.name, "groups": list(user.groups), "uid": user.uid, "extra": extra}
        status = await self._apiserver.review("SubjectAccessReview", {**attributes.spec(), **who})
        allowed = status.get("allowed") is True and status.get("denied") is not True
        return allowed, str(status.get("reason", ""))


def _proxied(request: Request, proxy: FrontProxy) -> User:
    """Return the user that the front proxy names. `Unauthorized` where the certificate is not the front proxy's."""
    names = [value for key, value in request.certificate or () if key == "commonName"]
    if proxy.allowed_names and not (len(names) == 1 and names[0] in proxy.allowed_names):
        raise Unauthorized("Unauthorized")
    name = next((value for header in proxy.user_headers for value in _all(request, header) if value), "")
    if not name:
        raise Unauthorized("Unauthorized")
    groups = [value for header in proxy.group_headers for value in _all(request, header)]
    if _AUTHENTICATED not in groups and name != ANONYMOUS.name:
        groups.append(_AUTHENTICATED)
    uid = next((value for header in proxy.uid_headers for value in _all(request, header) if value), "")
    return User(name, tuple(groups), uid, _extra(request, proxy.extra_prefixes))


def _all(request: Request, header: str) -> list[str]:
    return [value for name, value in request.fields if name.lower() == header]


def _extra(request: Request, prefixes: tuple[str, ...]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    found: dict[str, list[str]] = {}
    for name, value in request.fields:
        key = name.lower()
        if prefix := next((prefix for prefix in prefixes if key.startswith(prefix)), ""):
            found.setdefault(unquote(key.removeprefix(prefix)), []).append(value)
    return tuple((key, tuple(values)) for key, values in sorted(found.items()))


class _Cache(Generic[T]):
    """Outcomes for a short time, the oldest forgotten first. Those who want the same share one question."""

    def __init__(self) -> None:
        self._entries: OrderedDict[object, tuple[float, asyncio.Future[T]]] = OrderedDict()

    async def get(self, key: object, ask: Callable[[], Awaitable[T]]) -> T:
        """Return the outcome for ``key``, by ``ask`` where it is not known. An error is not kept."""
        now = time.monotonic()
        entry = self._entries.get(key)
        if entry is None or entry[0] < now:
            entry = now + _CACHE_S, asyncio.ensure_future(ask())
            self._entries[key] = entry
            self._entries.move_to_end(key)
            if len(self._entries) > _CACHED:
                self._entries.popitem(last=False)
        try:
            return await asyncio.shield(entry[1])
        except Exception:
            if self._entries.get(key) is entry:
                del self._entries[key]
            raise


def verb(method: str, query: Mapping[str, str], *, named: bool) -> str:
    """Return Kubernetes' verb for a request to a resource, to one object or to all."""
    if method in ("GET", "HEAD"):
        watch = query.get("watch", "") in ("true", "1")
        return "watch" if watch else "get" if named else "list"
    if method == "DELETE":
        return "delete" if named else "deletecollection"
    return {"POST": "create", "PUT": "update", "PATCH": "patch"}.get(method, method.lower())
