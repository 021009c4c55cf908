"""Settings: frozen values, read once from the environment, with every mistake reported at once.

``AUDIT_SINKS`` has the sinks' URLs. ``AUDIT_KEY``, ``AUDIT_FORMAT`` and ``AUDIT_FILE_<OPTION>`` are options that all
sinks share, ``AUDIT_PRESET`` names a set of such options. An option in a URL overrides them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar, cast, get_args

import msgspec

from auditsplit import sinks
from auditsplit.auth import TokenHash, check_cluster
from auditsplit.decode.cloud_logs.cloudwatch import cluster_of
from auditsplit.environ import Reader, whole_number
from auditsplit.policy.applied import NO_POLICY, AppliedPolicy
from auditsplit.policy.redaction import Redaction
from auditsplit.policy.truncation import NO_TRUNCATION, Truncation
from auditsplit.routing.fields import WhichUser
from auditsplit.sinks.options import Options, Target, redacted

T = TypeVar("T")
PRESETS: Mapping[str, Mapping[str, str]] = {
    "logstash": {"key": "kube-audit-{user}/audit", "format": "logstash"},
    "fluentd": {"key": "audit-{namespace}.{year}{month}{day}{hour}.log.gz", "format": "log"},
}
"""The layouts of the two recipes in Kubernetes' auditing page."""

DEFAULT_SINK = "file:var/log"
_CLUSTER = "default"
_USER: WhichUser = "authenticated"
_SHA256 = re.compile(r"(?:sha256:)?([0-9a-fA-F]{64})", re.ASCII)
_FILE_OPTION = "AUDIT_FILE_"
_MAX_BODY_BYTES = 32 * 1024 * 1024  # Cloud Run accepts no larger request
_LAMBDA = "AWS_LAMBDA_FUNCTION_NAME"
_EPHEMERAL = {_LAMBDA: "Lambda", "K_SERVICE": "Cloud Run"}


class Setting(NamedTuple):
    """What the docs show of a setting. Links in ``help`` are relative to ``docs/``."""

    help: str
    default: str = ""


NAMES: Mapping[str, Setting] = {
    "AUDIT_SINKS": Setting(
        "URLs of [sinks](sinks.md), with spaces between them. All sinks must hold a batch before the answer is 200",
        DEFAULT_SINK,
    ),
    "AUDIT_PRESET": Setting(f"{' or '.join(PRESETS)}: files and lines as in that recipe of Kubernetes' auditing page"),
    "AUDIT_KEY": Setting("the option `key` of every sink: its [key template](concepts.md#places-and-names)"),
    "AUDIT_FORMAT": Setting("the option `format` of every sink: its [format](sinks.md#formats) of lines"),
    "AUDIT_USER": Setting(
        "whose name `{user}` is. `impersonated` is the impersonated user, if an event has one. The stage "
        "`RequestReceived` has none yet, so write `omitStages: [RequestReceived]` into the policy",
        _USER,
    ),
    "AUDIT_TOKENS": Setting(
        "`cluster=sha256:<hash>`, with spaces between them. A cluster can have several. Without tokens, only senders "
        "on this machine are accepted, and on Lambda the function does not start"
    ),
    "AUDIT_CLUSTER": Setting("the cluster of `POST /` when no token names a cluster", _CLUSTER),
    "AUDIT_LOG_GROUPS": Setting(
        "the log groups of [EKS clusters](cluster/managed.md#eks) that CloudWatch Logs may send, with spaces between "
        "them: `/aws/eks/<cluster>/cluster`, or `<cluster>=<log group>` to choose the cluster's name"
    ),
    "AUDIT_DROP": Setting(
        "the bodies to [redact](security.md#secrets-in-bodies) for all sinks, by resource. `none` redacts nothing",
        str(Redaction()),
    ),
    "AUDIT_POLICY": Setting(
        "the [audit policy](policy.md#at-the-receiver) that lowers what all sinks get: the path of its file, or the "
        "policy itself if it begins with `{` or has several lines"
    ),
    "AUDIT_TRUNCATE_MAX_EVENT_SIZE": Setting(
        "the size in bytes of the largest event for all sinks, as a line of kube-apiserver's log. A larger event "
        "[loses its bodies](sinks.md#truncation). It is dropped if it is still larger. 0 is no limit",
        str(NO_TRUNCATION),
    ),
    "AUDIT_MAX_BODY_BYTES": Setting("the largest body in bytes, as sent and decompressed", str(_MAX_BODY_BYTES)),
    "AUDIT_METRICS_TOKEN": Setting(
        "`sha256:<hash>` of the token with which other machines can read the [metrics](operate.md#metrics)"
    ),
    "AUDIT_FILE_FSYNC": Setting("the option `fsync` of every [file sink](sinks.md#files)"),
    "AUDIT_FILE_MAXSIZE": Setting("the option `maxsize` of every file sink"),
    "AUDIT_FILE_MAXBACKUP": Setting("the option `maxbackup` of every file sink"),
    "AUDIT_FILE_MAXAGE": Setting("the option `maxage` of every file sink"),
}
"""The settings. The option of a file sink has its default and help in that sink's declaration."""


class Settings(msgspec.Struct, frozen=True):
    """What a deployer chose. Tokens are hashes; credentials of sinks stay in the environment."""

    sinks: tuple[Target[Options], ...]
    tokens: tuple[TokenHash, ...] = ()
    cluster: str = _CLUSTER
    max_body_bytes: int = _MAX_BODY_BYTES
    metrics_sha256: bytes | None = None
    """The hash of the token that lets other machines read the metrics."""
    redaction: Redaction = Redaction()
    policy: AppliedPolicy = NO_POLICY
    truncation: Truncation = NO_TRUNCATION
    log_groups: dict[str, str] = {}
    """The cluster of each log group."""

    @property
    def clusters(self) -> list[str]:
        """The clusters that may send, as far as the settings name them."""
        return sorted({*(token.cluster for token in self.tokens), *self.log_groups.values()})

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> Settings:
        """Return the settings in ``environ``; `SettingsError` has every mistake and what to write instead."""
        reader = Reader(environ, NAMES)
        settings = cls(
            sinks=_sinks(reader),
            tokens=_tokens(reader),
            cluster=_parsed(reader, "AUDIT_CLUSTER", _cluster, _CLUSTER),
            max_body_bytes=_bytes(reader, "AUDIT_MAX_BODY_BYTES", _MAX_BODY_BYTES),
            metrics_sha256=_metrics_token(reader),
            redaction=_parsed(reader, "AUDIT_DROP", Redaction.parse, Redaction()),
            policy=_parsed(reader, "AUDIT_POLICY", AppliedPolicy.parse, NO_POLICY),
            truncation=_parsed(reader, "AUDIT_TRUNCATE_MAX_EVENT_SIZE", Truncation.parse, NO_TRUNCATION),
            log_groups=_log_groups(reader),
        )
        reader.finish()
        return settings


def read_sinks(environ: Mapping[str, str]) -> tuple[Target[Options], ...]:
    """Return the sinks in ``environ``, for a function that receives nothing. `SettingsError` has every mistake."""
    reader = Reader(environ, NAMES)
    found = _sinks(reader)
    reader.finish()
    return found


def _sinks(reader: Reader) -> tuple[Target[Options], ...]:
    urls = reader.text("AUDIT_SINKS").split()
    platform = next((name for variable, name in _EPHEMERAL.items() if variable in reader.environ), None)
    if not urls and platform:
        reader.mistake("AUDIT_SINKS", f"not set. A file on {platform} is lost with the instance, so name another sink")
    user = cast("WhichUser", reader.choice("AUDIT_USER", get_args(WhichUser), _USER))
    shared = _shared_options(reader)
    return tuple(target for url in urls or [DEFAULT_SINK] if (target := _target(reader, url, shared, user)) is not None)


def _shared_options(reader: Reader) -> dict[str, str]:
    """Return the options that apply to every sink whose URL does not name them."""
    preset = reader.choice("AUDIT_PRESET", PRESETS)
    shared = dict(PRESETS.get(preset, {}))
    for name, value in reader.given.items():
        if name in ("AUDIT_KEY", "AUDIT_FORMAT"):
            shared[name.removeprefix("AUDIT_").lower()] = value
        elif name.startswith(_FILE_OPTION):
            shared[name.removeprefix(_FILE_OPTION).lower()] = value
    return shared


def _target(reader: Reader, url: str, shared: Mapping[str, str], user: WhichUser) -> Target[Any] | None:
    """Return the sink's target; None, with the mistakes noted, where the URL is not valid."""
    try:
        return sinks.read_target(url, shared, user)
    except ValueError as error:
        for line in str(error).splitlines():
            setting, colon, rest = line.partition(": ")
            if colon and setting in NAMES:
                reader.mistake(setting, rest)
            else:
                reader.mistake("AUDIT_SINKS", f"{redacted(url)}: {line}")
    return None


def _tokens(reader: Reader) -> tuple[TokenHash, ...]:
    text = reader.text("AUDIT_TOKENS")
    if not text and _LAMBDA in reader.environ and not reader.text("AUDIT_LOG_GROUPS"):
        reader.mistake(
            "AUDIT_TOKENS", "not set. On Lambda every sender needs a token, which 'auditsplit token <cluster>' prints"
        )
    return parse_tokens(text, reader.mistakes)


def parse_tokens(text: str, mistakes: list[str]) -> tuple[TokenHash, ...]:
    """Return the hashes in ``AUDIT_TOKENS``; a malformed entry is reported in ``mistakes`` by its number."""
    hashes = []
    for number, entry in enumerate(text.replace(",", " ").split(), 1):
        try:
            hashes.append(TokenHash.parse(entry))
        except ValueError as error:
            mistakes.append(f"AUDIT_TOKENS: entry {number}: {error}")
    if len({token.sha256 for token in hashes}) < len(hashes):
        mistakes.append("AUDIT_TOKENS: a hash is listed twice. A token is for one cluster, so make one for each")
    return tuple(hashes)


def _metrics_token(reader: Reader) -> bytes | None:
    text = reader.text("AUDIT_METRICS_TOKEN")
    if not text:
        return None
    if match := _SHA256.fullmatch(text):
        return bytes.fromhex(match[1])
    reader.mistake(
        "AUDIT_METRICS_TOKEN",
        "must be sha256:<64 hex digits>, the hash of a token and not the token itself. Print it: "
        'printf %s "$TOKEN" | sha256sum',
    )
    return None


def _log_groups(reader: Reader) -> dict[str, str]:
    found: dict[str, str] = {}
    for entry in reader.text("AUDIT_LOG_GROUPS").split():
        name, _, group = entry.rpartition("=")
        try:
            found[group] = check_cluster(name or cluster_of(group))
        except ValueError:
            reader.mistake(
                "AUDIT_LOG_GROUPS",
                f"{entry[:80]!r} names no valid cluster. Write /aws/eks/<cluster>/cluster, or "
                "<cluster>=<log group> with a name of a-z 0-9 - . and at most 63 characters",
            )
    return found


def _parsed(reader: Reader, name: str, parse: Callable[[str], T], default: T) -> T:
    """Return what ``parse`` makes of a setting. If it raises ``ValueError``, note its lines and return ``default``."""
    try:
        return parse(reader.text(name))
    except ValueError as error:
        reader.mistake(name, *str(error).splitlines())
        return default


def _cluster(text: str) -> str:
    return check_cluster(text or _CLUSTER)


def _bytes(reader: Reader, name: str, default: int) -> int:
    text = reader.text(name, str(default))
    number = whole_number(text)
    if number:
        return number
    reader.mistake(name, f"must be a number of bytes, not {text[:40]!r}. Write 33554432 for 32 MiB")
    return default
