"""Faults of kube-apiserver's audit flags, found without kube-apiserver.

`RULES` is the table. The rules about values are those of ``pkg/server/options/audit.go`` in k8s.io/apiserver v0.37. A
test compares them with what a real kube-apiserver v1.37 refuses.
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Callable, Iterator
from typing import NamedTuple

from auditsplit.apiserver.flags.given import Given
from auditsplit.apiserver.flags.known import DEFAULTS, MODES, READ, TYPES, boolean
from auditsplit.apiserver.flags.platforms import Platform
from auditsplit.apiserver.flags.sizing import LIST_HEAD
from auditsplit.webhook.rules import ERROR, WARNING, Finding

_NO_START = "kube-apiserver does not start"
_POSITIVE = ("batch-buffer-size", "batch-max-size", "batch-throttle-burst", "batch-throttle-qps")
WEBHOOK, POLICY, LOG = "audit-webhook-config-file", "audit-policy-file", "audit-log-path"


class Subject(NamedTuple):
    """The flags, the files that their kubeconfig names, and the platform that the batches go to.

    ``named`` is None if the kubeconfig could not be read here. ``platform`` is None if it is not known.
    """

    given: Given
    named: tuple[str, ...] | None = None
    platform: Platform | None = None
    max_body: int = 0

    def value(self, flag: str) -> str:
        """Return the value that has effect, or kube-apiserver's default, or nothing."""
        return self.given.values().get(flag, DEFAULTS.get(flag, ""))

    def number(self, flag: str) -> int | None:
        """Return the value as a whole number. None if it is not valid."""
        try:
            return int(self.value(flag))
        except ValueError:
            return None

    def on(self, flag: str) -> bool:
        """Return whether a flag is true. An invalid value is false."""
        try:
            return boolean(self.value(flag))
        except ValueError:
            return False


def check(subject: Subject) -> list[Finding]:
    """Return the faults, in the table's order."""
    return [finding for rule in RULES for finding in rule(subject)]


def unknown(subject: Subject) -> Iterator[Finding]:
    """Find audit flags that kube-apiserver does not have, and names that are almost one of its audit flags."""
    for name in dict.fromkeys(name for name, _ in subject.given.flags):
        if name in TYPES:
            continue
        if name.startswith("-"):
            yield Finding(ERROR, "unknown-flag", f"{name}: write the name without --, which the installer adds")
            continue
        plain = name.replace("_", "-").lower()
        near = difflib.get_close_matches(plain, TYPES, n=1, cutoff=0.85)
        if name.startswith(("audit-", "audit_")) or near:
            hint = f" Did you mean --{near[0]}?" if near else ""
            yield Finding(ERROR, "unknown-flag", f"--{name[:80]} is not a flag of kube-apiserver. {_NO_START}.{hint}")


def types(subject: Subject) -> Iterator[Finding]:
    """Find values of the wrong type, such as a duration without a unit."""
    for name, value in subject.given.flags:
        read, instead = READ[TYPES.get(name, "string")]
        try:
            read(value)
        except ValueError:
            rule = "no-unit" if TYPES[name] == "duration" else "wrong-type"
            yield Finding(ERROR, rule, f"--{name}={value[:40]}: {_NO_START}. {instead}")


def bounds(subject: Subject) -> Iterator[Finding]:
    """Find values that kube-apiserver refuses when it starts."""
    mode = subject.value("audit-webhook-mode")
    if mode not in MODES:
        yield Finding(ERROR, "mode", f"--audit-webhook-mode={mode[:40]}: {_NO_START}. Write one of {', '.join(MODES)}")
    if (version := subject.value("audit-webhook-version")) != DEFAULTS["audit-webhook-version"]:
        yield Finding(ERROR, "version", f"--audit-webhook-version={version[:40]}: {_NO_START}. Remove the flag")
    if mode == "batch":
        for name in _POSITIVE:
            value = subject.given.values().get(f"audit-webhook-{name}", "1")
            throttled = "throttle" not in name or subject.on("audit-webhook-batch-throttle-enable")
            if throttled and _float(value) <= 0:
                yield Finding(
                    ERROR, "not-positive", f"--audit-webhook-{name}={value[:40]}: {_NO_START}. Write 1 or more"
                )
    event, most = (subject.number(f"audit-webhook-truncate-max-{name}-size") for name in ("event", "batch"))
    if event is not None and most is not None and (event <= 0 or event > most):
        reason = f"--audit-webhook-truncate-max-event-size={event}: {_NO_START}. Write 1 to {most:,} bytes"
        yield Finding(ERROR, "truncate-size", reason)


def backends(subject: Subject) -> Iterator[Finding]:
    """Find a webhook that gets no events, or no webhook at all."""
    if not subject.value(WEBHOOK):
        yield Finding(ERROR, "no-webhook", f"--{WEBHOOK} is missing, so kube-apiserver sends nothing")
    elif not subject.value(POLICY):
        yield Finding(
            ERROR,
            "no-policy",
            f"--{POLICY} is missing, so kube-apiserver records no event and sends nothing, without an error."
            " 'auditsplit policy init' writes a policy",
        )


def repeated(subject: Subject) -> Iterator[Finding]:
    """Find flags that are given twice."""
    for name, count in Counter(name for name, _ in subject.given.flags if name in TYPES).items():
        if count > 1:
            last = subject.value(name)[:80]
            yield Finding(WARNING, "repeated", f"--{name} is given {count} times. The last has effect: {last}")


def files(subject: Subject) -> Iterator[Finding]:
    """Find files that kube-apiserver's pod does not see, and paths without a beginning."""
    flags = [(f"--{name}", subject.value(name)) for name in (POLICY, WEBHOOK) if subject.value(name)]
    for what, path in flags:
        if not path.startswith("/"):
            yield Finding(ERROR, "relative-path", f"{what}={path[:80]}: write the absolute path")
    if subject.given.mounts is None:
        return
    named = [("the kubeconfig", path) for path in subject.named or ()]
    wanted = named if subject.given.mounts_named else flags + named
    for what, path in wanted:
        if path.startswith("/") and not _mounts(subject, path):
            yield Finding(
                ERROR,
                "not-mounted",
                f"{what} names {path[:120]}, which kube-apiserver's pod does not see. Mount its folder, read-only",
            )
    log = subject.value(LOG)
    if log.startswith("/"):
        yield from _log(subject, log)


def _log(subject: Subject, log: str) -> Iterator[Finding]:
    mounts = _mounts(subject, log)
    if not mounts:
        yield Finding(WARNING, "not-mounted", f"--{LOG}={log[:120]} is lost with the pod. Mount its folder")
    elif all(mounts):
        yield Finding(ERROR, "read-only", f"--{LOG}={log[:120]} is in a folder that the pod can only read")


def _mounts(subject: Subject, path: str) -> list[bool]:
    """Return whether each mount that has ``path`` is read-only. The innermost mount alone counts."""
    inside = [mount for mount in subject.given.mounts or () if f"{path}/".startswith(f"{mount.path.rstrip('/')}/")]
    innermost = max((len(mount.path) for mount in inside), default=0)
    return [mount.read_only for mount in inside if len(mount.path) == innermost]


def sizes(subject: Subject) -> Iterator[Finding]:
    """Find batches that the platform may refuse. kube-apiserver drops a refused batch after five tries."""
    mode, truncates = subject.value("audit-webhook-mode"), subject.on("audit-webhook-truncate-enabled")
    if mode != "batch":
        if mode in MODES:
            reason = f"--audit-webhook-mode={mode}: every request to kube-apiserver waits for auditsplit. Write batch"
            yield Finding(WARNING, "mode", reason)
        return
    if not truncates:
        yield Finding(
            ERROR if subject.platform else WARNING,
            "no-truncation",
            "--audit-webhook-truncate-enabled is missing, so the size of a batch has no bound. A batch over the limit"
            " of the platform is refused five times and then lost",
        )
        return
    batch, event = (
        subject.number("audit-webhook-batch-max-size"),
        subject.number("audit-webhook-truncate-max-event-size"),
    )
    if subject.platform and batch is not None and event is not None:
        yield from _too_large(subject.platform, subject.max_body, batch, event)
    if "audit-webhook-truncate-max-batch-size" in subject.given.values():
        reason = "--audit-webhook-truncate-max-batch-size has no effect in batch mode. batch-max-size bounds a batch"
        yield Finding(WARNING, "no-effect", reason)


def _too_large(platform: Platform, max_body: int, batch: int, event: int) -> Iterator[Finding]:
    room = platform.list_bytes(max_body)
    if batch * event + LIST_HEAD > room:
        fitting = (room - LIST_HEAD) // event
        instead = f"--audit-webhook-batch-max-size={fitting}" if fitting else "a smaller truncate-max-event-size"
        yield Finding(
            ERROR,
            "too-large",
            f"a batch may have {batch} x {event:,} = {batch * event:,} bytes, and {platform.title} accepts {room:,}"
            f" ({platform.source}). A larger batch is refused five times and then lost. Write {instead}",
        )


def _float(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 1.0  # `types` reports it


RULES: tuple[Callable[[Subject], Iterator[Finding]], ...] = (unknown, types, bounds, backends, repeated, files, sizes)
"""Every rule, in the order of its findings."""
