"""Who may send: bearer tokens, of which only SHA-256 hashes are configured, each bound to one cluster.

A token is 32 random bytes, so a plain hash of it reveals nothing. A password would require a slow hash.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import re
import secrets
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from auditsplit.errors import Forbidden, Unauthenticated

CLUSTER = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,61}[a-z0-9])?", re.ASCII)
"""A cluster's name: a DNS label or name, at most 63 characters. `check_cluster` checks it."""

_ENTRY = re.compile(r"([^=]+)=(?:sha256:)?([0-9a-fA-F]{64})", re.ASCII)
_FROM_ELSEWHERE = frozenset(
    {"forwarded", "origin", "referer", "true-client-ip", "via", "x-client-ip", "x-cluster-client-ip", "x-real-ip"}
)
"""Headers that a proxy or a browser adds, and kube-apiserver and curl do not."""

_FROM_ELSEWHERE_PREFIXES = ("x-forwarded", "x-original-", "x-envoy-", "cf-", "sec-")
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9.-]+)(?::[0-9]{1,5})?", re.ASCII | re.IGNORECASE)


class TokenHash(NamedTuple):
    """A token's hash, and the cluster that it may write as."""

    cluster: str
    sha256: bytes

    def __str__(self) -> str:
        """Return the entry as ``AUDIT_TOKENS`` has it."""
        return f"{self.cluster}=sha256:{self.sha256.hex()}"

    @classmethod
    def of(cls, cluster: str, token: str) -> TokenHash:
        """Return the hash of an existing ``token``."""
        return cls(cluster, _sha256(token))

    @classmethod
    def parse(cls, text: str) -> TokenHash:
        """Return the hash in ``cluster=sha256:<64 hex digits>``. ``ValueError`` for other text does not repeat it."""
        match = _ENTRY.fullmatch(text)
        try:
            if match:
                return cls(check_cluster(match[1]), bytes.fromhex(match[2]))
        except ValueError:
            pass
        raise ValueError("expected <cluster>=sha256:<64 hex digits>; 'auditsplit token <cluster>' prints it")


def check_cluster(name: str) -> str:
    """Return ``name``, a valid cluster name.

    Raises:
        ValueError: It is not one. The message repeats at most 63 characters of it.
    """
    if not CLUSTER.fullmatch(name):
        raise ValueError(f"{name[:63]!r} is not a valid cluster name. Write a-z 0-9 - . and at most 63 characters")
    return name


def new_token(cluster: str) -> tuple[str, TokenHash]:
    """Return a fresh token for ``cluster`` and its hash."""
    token = secrets.token_urlsafe(32)
    return token, TokenHash.of(cluster, token)


def authorize(
    headers: Mapping[str, str], peer: str, asked: str | None, hashes: Iterable[TokenHash], default: str
) -> str:
    """Return the cluster that the sender writes as.

    ``asked`` is the cluster in the path, None where there is none; then it is the token's own. Without ``hashes`` the
    sender must be on this machine (`_why_not_local`), and is ``asked`` or ``default``. Raises `Unauthenticated` or
    `Forbidden`.
    """
    hashes = tuple(hashes)
    if not hashes:
        _expect_local(headers, peer)
        return asked or default
    cluster = _cluster_of(headers.get("authorization", ""), hashes)
    if asked not in (None, cluster):
        raise Forbidden(
            f"this token is for the cluster {cluster!r}, and the path names another one. "
            f"Post to /clusters/{cluster}, or use that cluster's token"
        )
    return cluster


def expect_watcher(headers: Mapping[str, str], peer: str, sha256: bytes | None) -> None:
    """Return if the sender may read the metrics: with the token of that hash, or without one from this machine.

    Raises `Unauthenticated` or `Forbidden`.
    """
    if sha256 is None:
        if reason := _why_not_local(headers, peer):
            raise Forbidden(
                f"without AUDIT_METRICS_TOKEN only this machine may read the metrics, and {reason}. Set "
                "AUDIT_METRICS_TOKEN to let others read them"
            )
    elif not hmac.compare_digest(sha256, _sha256(_bearer(headers.get("authorization", "")))):
        raise Unauthenticated(
            "expected 'Authorization: Bearer <token>' with the token of AUDIT_METRICS_TOKEN's hash",
            WWW_Authenticate='Bearer realm="auditsplit"',
        )


def _bearer(authorization: str) -> str:
    """Return the token of an Authorization header, empty where it has none."""
    scheme, _, token = authorization.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _cluster_of(authorization: str, hashes: tuple[TokenHash, ...]) -> str:
    token = _bearer(authorization)
    if not token:
        raise Unauthenticated(
            "expected 'Authorization: Bearer <token>'. Set the user's token or tokenFile in the webhook's kubeconfig, "
            "and an https server: over http kube-apiserver leaves it out",
            WWW_Authenticate='Bearer realm="auditsplit"',
        )
    found = _sha256(token)
    matches = [known.cluster for known in hashes if hmac.compare_digest(known.sha256, found)]  # all, in constant time
    if not matches:
        raise Unauthenticated(
            "this token is not known here. Compare it with AUDIT_TOKENS, or make a new one with 'auditsplit token'",
            WWW_Authenticate='Bearer realm="auditsplit", error="invalid_token"',
        )
    return matches[0]


def _expect_local(headers: Mapping[str, str], peer: str) -> None:
    """Refuse a sender on another machine, behind a proxy, or in a browser."""
    if reason := _why_not_local(headers, peer):
        raise Forbidden(
            f"no tokens are configured, so only senders on this machine are accepted, and {reason}. Run "
            "'auditsplit token <cluster>' and set AUDIT_TOKENS to the hash that it prints"
        )


def _why_not_local(headers: Mapping[str, str], peer: str) -> str:
    """Return why the request may come from another machine. Empty if it comes from this one.

    A proxy on this machine has a loopback address too. It shows by the headers that it adds or passes on, or by a Host
    that is another name. So does a page in a browser, also if its name was made to resolve to 127.0.0.1.
    """
    if not _is_loopback(peer):
        return "this sender is on another"
    for name in sorted(headers):
        if name in _FROM_ELSEWHERE or name.startswith(_FROM_ELSEWHERE_PREFIXES):
            return f"a proxy or a browser added the header {name[:40]!r}"
    if not _is_loopback_host(headers.get("host")):
        return "the Host of this request is not localhost, 127.0.0.1 or [::1]"
    return ""


def _is_loopback_host(host: str | None) -> bool:
    """Return whether a Host header names this machine. HTTP/1.0 does not require the header."""
    if host is None:
        return True
    found = _HOST.fullmatch(host)
    name = found[1].lower().strip("[]") if found else ""
    return name == "localhost" or _is_loopback(name)


def _is_loopback(peer: str) -> bool:
    try:
        address = ipaddress.ip_address(peer)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


def _sha256(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
