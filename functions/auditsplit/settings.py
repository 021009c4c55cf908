"""Settings: the environment, read once, with every mistake reported at once.

``AUDIT_SINKS`` are the stores' URLs; ``AUDIT_KEY``, ``AUDIT_FORMAT`` and ``AUDIT_FILE_<OPTION>`` options that they
share, ``AUDIT_PRESET`` a set of such options by name. What a URL says itself counts more.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import cast, get_args

import msgspec

from auditsplit import sinks
from auditsplit.auth import TokenHash, check_cluster
from auditsplit.errors import SettingsError
from auditsplit.policy.redaction import Redaction
from auditsplit.routing.template import WhichUser
from auditsplit.sinks import Sink
from auditsplit.sinks.options import redacted, whole_number

PRESETS: Mapping[str, Mapping[str, str]] = {
    "logstash": {"key": "kube-audit-{user}/audit", "format": "logstash"},
    "fluentd": {"key": "audit-{namespace}.{year}{month}{day}{hour}.log.gz", "format": "log"},
}
"""The layouts of the two recipes in Kubernetes' auditing page."""

NAMES = frozenset(
    {
        "AUDIT_CLUSTER",
        "AUDIT_DROP",
        "AUDIT_FILE_FSYNC",
        "AUDIT_FILE_MAXAGE",
        "AUDIT_FILE_MAXBACKUP",
        "AUDIT_FILE_MAXSIZE",
        "AUDIT_FORMAT",
        "AUDIT_KEY",
        "AUDIT_MAX_BODY_BYTES",
        "AUDIT_METRICS_TOKEN",
        "AUDIT_PRESET",
        "AUDIT_SINKS",
        "AUDIT_TOKENS",
        "AUDIT_USER",
    }
)
_SHA256 = re.compile(r"(?:sha256:)?([0-9a-fA-F]{64})", re.ASCII)
_FILE_OPTION = "AUDIT_FILE_"
_MAX_BODY_BYTES = 32 * 1024 * 1024  # a Cloud Run function takes no more
_LAMBDA = "AWS_LAMBDA_FUNCTION_NAME"
_EPHEMERAL = {_LAMBDA: "Lambda", "K_SERVICE": "Cloud Run"}


class Settings(msgspec.Struct, frozen=True):
    """What a deployer chose; holds no secret, since tokens come as hashes."""

    sinks: tuple[Sink, ...]
    tokens: tuple[TokenHash, ...] = ()
    cluster: str = "default"
    max_body_bytes: int = _MAX_BODY_BYTES
    metrics_sha256: bytes | None = None
    """Of the token that lets others than this machine read the metrics."""
    redaction: Redaction = Redaction()

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> Settings:
        """Return the settings in ``environ``; `SettingsError` names every mistake and what to write instead."""
        given = {name: value.strip() for name, value in environ.items() if name.startswith("AUDIT_") and value.strip()}
        mistakes = list(_unknown(given))
        settings = cls(
            sinks=_sinks(given, environ, mistakes),
            tokens=_tokens(given.get("AUDIT_TOKENS", ""), environ, mistakes),
            cluster=_cluster(given.get("AUDIT_CLUSTER", "default"), mistakes),
            max_body_bytes=_bytes(given.get("AUDIT_MAX_BODY_BYTES", str(_MAX_BODY_BYTES)), mistakes),
            metrics_sha256=_metrics_token(given.get("AUDIT_METRICS_TOKEN", ""), mistakes),
            redaction=_redaction(given.get("AUDIT_DROP", ""), mistakes),
        )
        if mistakes:
            raise SettingsError(*mistakes)
        return settings


def _unknown(given: Mapping[str, str]) -> Iterator[str]:
    for name in sorted(given.keys() - NAMES):
        near = difflib.get_close_matches(name, NAMES, n=1)
        yield f"{name}: there is no such setting" + (f"; did you mean {near[0]}?" if near else "")


def _sinks(given: Mapping[str, str], environ: Mapping[str, str], mistakes: list[str]) -> tuple[Sink, ...]:
    urls = given.get("AUDIT_SINKS", "").split()
    platform = next((name for variable, name in _EPHEMERAL.items() if variable in environ), None)
    if not urls and platform:
        mistakes.append(f"AUDIT_SINKS: not set; a file on {platform} is gone with the instance, so name another store")
    preset = given.get("AUDIT_PRESET", "")
    if preset and preset not in PRESETS:
        mistakes.append(f"AUDIT_PRESET: {preset!r} is none of {', '.join(PRESETS)}")
    user = given.get("AUDIT_USER", "authenticated")
    if user not in get_args(WhichUser):
        mistakes.append(f"AUDIT_USER: {user!r} is none of {', '.join(get_args(WhichUser))}")
        user = "authenticated"
    shared = {
        **PRESETS.get(preset, {}),
        **{option: given[name] for option, name in (("key", "AUDIT_KEY"), ("format", "AUDIT_FORMAT")) if name in given},
        **{name[len(_FILE_OPTION) :].lower(): value for name, value in given.items() if name.startswith(_FILE_OPTION)},
    }
    found: list[Sink] = []
    for url in urls or ["file:var/log"]:
        try:
            found.append(sinks.from_url(url, shared, cast("WhichUser", user)))
        except ValueError as error:
            for line in str(error).splitlines():
                mistake = line if line.startswith("AUDIT_") else f"AUDIT_SINKS: {redacted(url)}: {line}"
                if mistake not in mistakes:  # a shared option is every store's
                    mistakes.append(mistake)
    _expect_different(found, mistakes)
    return tuple(found)


def _expect_different(found: list[Sink], mistakes: list[str]) -> None:
    """Refuse one place twice: the second would find every batch stored already."""
    places: set[str] = set()
    for sink in found:
        root = getattr(sink, "root", None)
        place = os.path.realpath(root) if isinstance(root, Path) else sink.name
        if place in places:
            mistakes.append(f"AUDIT_SINKS: {sink.name} is named twice; give each store a place of its own")
        places.add(place)


def _tokens(text: str, environ: Mapping[str, str], mistakes: list[str]) -> tuple[TokenHash, ...]:
    if not text and _LAMBDA in environ:
        mistakes.append(
            "AUDIT_TOKENS: not set; on Lambda every sender needs one, which 'auditsplit token <cluster>' prints"
        )
    return parse_tokens(text, mistakes)


def parse_tokens(text: str, mistakes: list[str]) -> tuple[TokenHash, ...]:
    """Return the hashes in ``AUDIT_TOKENS``; what is no entry is told in ``mistakes``, by its number."""
    found = []
    for number, entry in enumerate(text.replace(",", " ").split(), 1):
        try:
            found.append(TokenHash.parse(entry))
        except ValueError as error:
            mistakes.append(f"AUDIT_TOKENS: entry {number}: {error}")
    if len({token.sha256 for token in found}) < len(found):
        mistakes.append("AUDIT_TOKENS: one hash is named twice; a token is for one cluster, so make one for each")
    return tuple(found)


def _metrics_token(text: str, mistakes: list[str]) -> bytes | None:
    if not text:
        return None
    if found := _SHA256.fullmatch(text):
        return bytes.fromhex(found[1])
    mistakes.append(
        "AUDIT_METRICS_TOKEN: expected sha256:<64 hex digits>, the hash of a token and not the token itself; "
        'printf %s "$TOKEN" | sha256sum prints it'
    )
    return None


def _redaction(text: str, mistakes: list[str]) -> Redaction:
    try:
        return Redaction.parse(text)
    except ValueError as error:
        mistakes += [f"AUDIT_DROP: {line}" for line in str(error).splitlines()]
        return Redaction()


def _cluster(text: str, mistakes: list[str]) -> str:
    try:
        check_cluster(text)
    except ValueError as error:
        mistakes.append(f"AUDIT_CLUSTER: {error}")
    return text


def _bytes(text: str, mistakes: list[str]) -> int:
    number = whole_number(text)
    if number:
        return number
    mistakes.append(f"AUDIT_MAX_BODY_BYTES: {text[:40]!r} is no number of bytes; write 33554432 for 32 MiB")
    return 1
