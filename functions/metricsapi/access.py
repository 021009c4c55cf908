"""Who asks, and whether that user may. kube-apiserver decides both, except for what the front proxy vouches for."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import unquote

import orjson

from auditsplit.serve.messages import Request
from metricsapi.apiserver import Apiserver, User, Verdict
from metricsapi.errors import Forbidden, Unauthorized
from metricsapi.frontproxy import FrontProxy
from metricsapi.objects import GROUP
from metricsapi.shared import Shared

_KEPT_S = 10.0  # as metrics-server has it
_MOST = 4096
_TOKEN_CHARACTERS = 16 * 1024
_AUTHENTICATED = "system:authenticated"
_MASTERS = "system:masters"

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
        # Apart, so that many bad tokens do not displace decisions.
        self._tokens: Shared[Verdict] = Shared(lambda _: _KEPT_S, most=_MOST)
        self._decisions: Shared[Verdict] = Shared(lambda _: _KEPT_S, most=_MOST)

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
        verdict = await self._review(self._tokens, "TokenReview", {"token": token})
        if not verdict.authenticated:
            raise Unauthorized("Unauthorized")
        return verdict.user

    async def authorize(self, user: User, attributes: Attributes) -> None:
        """Return if the user may do this. Raises `Forbidden` otherwise, without a review where the user is unknown."""
        if user is ANONYMOUS:
            raise attributes.refusal(user.username)
        if _MASTERS in user.groups:
            return
        who = {"user": user.username, "groups": user.groups, "uid": user.uid, "extra": user.extra}
        verdict = await self._review(self._decisions, "SubjectAccessReview", {**attributes.spec(), **who})
        if verdict.denied or not verdict.allowed:
            raise attributes.refusal(user.username, verdict.reason)

    async def _review(self, kept: Shared[Verdict], kind: str, spec: Mapping[str, Any]) -> Verdict:
        """Return a review's verdict, which is kept by a digest: the token is kept nowhere."""
        digest = hashlib.sha256(orjson.dumps(spec)).digest()
        return await kept.get(digest, lambda: self._apiserver.review(kind, spec))


def _proxied(request: Request, proxy: FrontProxy) -> User:
    """Return the user that the front proxy names. `Unauthorized` where the certificate is not the front proxy's."""
    names = [value for key, value in request.certificate or () if key == "commonName"]
    if proxy.allowed_names and not (len(names) == 1 and names[0] in proxy.allowed_names):
        raise Unauthorized("Unauthorized")
    name = next((value for header in proxy.user_headers for value in _all(request, header) if value), "")
    if not name:
        raise Unauthorized("Unauthorized")
    groups = [value for header in proxy.group_headers for value in _all(request, header)]
    if _AUTHENTICATED not in groups and name != ANONYMOUS.username:
        groups.append(_AUTHENTICATED)
    uid = next((value for header in proxy.uid_headers for value in _all(request, header) if value), "")
    return User(name, tuple(groups), uid, _extra(request, proxy.extra_prefixes))


def _all(request: Request, header: str) -> list[str]:
    return [value for name, value in request.fields if name.lower() == header]


def _extra(request: Request, prefixes: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for name, value in request.fields:
        if prefix := next((prefix for prefix in prefixes if name.lower().startswith(prefix)), ""):
            key = unquote(name.lower().removeprefix(prefix))
            found[key] = (*found.get(key, ()), value)
    return found


def verb(method: str, query: Mapping[str, str], *, named: bool) -> str:
    """Return Kubernetes' verb for a request to a resource, to one object or to all."""
    if method in ("GET", "HEAD"):
        watch = query.get("watch", "") in ("true", "1")
        return "watch" if watch else "get" if named else "list"
    if method == "DELETE":
        return "delete" if named else "deletecollection"
    return {"POST": "create", "PUT": "update", "PATCH": "patch"}.get(method, method.lower())
