"""Streams: which data stream an event goes to, by a template and names that Elasticsearch accepts.

By default every user has a data stream. Elasticsearch rolls it over and deletes what is older than the retention, and
an API key that may do nothing else may make it with the first event. A name is that of `names.encode` in lower case,
with ``:`` as ``%3a``. It is still one-to-one, because upper case is only in the digits of ``%XX``.

Rejected events go to ``<prefix>_rejected``. No encoded value begins with ``_``, so no user has that data stream.
"""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache
from typing import ClassVar

from auditsplit.event import Batch, Event, repeatable_time
from auditsplit.routing.fields import WhichUser
from auditsplit.routing.template import KeyTemplate

DEFAULT_TARGET = "kube-audit-{user}"

MAX_BYTES = 255 - len(".ds-" + "-2026.11.23-000001")
"""The longest name. The indices behind a data stream add to its name, and their bound is 255 bytes."""

_LITERAL = re.compile(r"[a-z0-9._@=+/-]*", re.ASCII)
_START = re.compile(r"[a-z0-9]", re.ASCII)
_PREFIX_BYTES = 3
_TYPES = ("logs", "metrics", "traces", "synthetics", "profiling")  # Elastic's names: <type>-<dataset>-<namespace>
_DEFAULT_NAMESPACE = "default"
_HASH_MARK = "~"  # `names.encode` writes it only before its own hash, which has another domain


class Streams:
    """The data streams of a template; ``ValueError`` has every mistake in it on a line of its own."""

    OPTION_WORDS: ClassVar = f"a template of names such as {DEFAULT_TARGET}"

    def __init__(self, text: str = DEFAULT_TARGET, user: WhichUser = "authenticated") -> None:
        """Check ``text``. A ``/`` in it becomes ``=``, because names have none. ``user`` is that of `KeyTemplate`."""
        mistakes = _mistakes(text)
        if mistakes:
            raise ValueError("\n".join(mistakes))
        literal, brace, rest = text.partition("{")
        self.text = text
        self.prefix = legal_name(literal)
        self._before = literal if brace else ""  # apart, because `KeyTemplate` bounds lengths as file systems do
        self._template = KeyTemplate(brace + rest or literal, user=user)

    @classmethod
    def from_option(cls, text: str, user: WhichUser, /) -> Streams:
        """Return the data streams that the option ``target`` names."""
        return cls(text, user)

    def __str__(self) -> str:
        """Return the text of the template."""
        return self.text

    @property
    def patterns(self) -> list[str]:
        """Patterns that match all data streams of the template, and as few others as possible."""
        return [f"{self.prefix}*"] if "{" in self.text else [self.prefix, self.rejected]

    @property
    def rejected(self) -> str:
        """The data stream for malformed bodies and for events that Elasticsearch refuses."""
        return f"{self.prefix}{'' if '{' in self.text else '-'}_rejected"

    def group(self, batch: Batch) -> dict[str, list[Event]]:
        """Return the batch's events by data stream, in their order.

        An event without a time has the batch's `repeatable_time`, because a retry must go to the same data stream.
        """
        origin = batch.origin
        if self._template.has_time:
            origin = origin._replace(arrived=repeatable_time(batch.events))
        groups = self._template.group(batch.events, origin)
        return {legal_name(self._before + name): events for name, events in groups.items()}


@lru_cache(maxsize=4096)
def legal_name(name: str) -> str:
    """Return a name of `MAX_BYTES` or less that Elasticsearch accepts. Two rendered names never become one."""
    lowered = name.replace("/", "=").replace(":", "%3a").lower()
    if len(lowered) <= MAX_BYTES:
        return lowered
    digest = hashlib.sha256(b"data stream\0" + name.encode()).hexdigest()
    kept = lowered[: MAX_BYTES - len(_HASH_MARK) - len(digest)]
    return re.sub(r"%[0-9a-f]?\Z", "", kept) + _HASH_MARK + digest


def _mistakes(text: str) -> list[str]:
    """Return what is wrong with a template for data streams beyond what `KeyTemplate` refuses."""
    mistakes = []
    prefix = text.partition("{")[0]
    if not _START.match(text) or len(prefix) < _PREFIX_BYTES:
        mistakes.append(f"{text!r} must begin with {_PREFIX_BYTES} or more of a-z 0-9 before its first field")
    mistakes += [
        f"{literal!r} has a character other than a-z 0-9 . _ @ = + - /; data streams have no others"
        for literal in re.split(r"\{[^{}]*\}", text)
        if not _LITERAL.fullmatch(literal)
    ]
    if _covers_integrations(prefix, whole="{" not in text):
        mistakes.append(
            f"{text!r} would change data streams of Elastic's integrations. Write a word of your own after the dataset,"
            " as in logs-kubernetes.audit_logs-auditsplit_{cluster}"
        )
    if len(text) > MAX_BYTES:
        mistakes.append(f"it has over {MAX_BYTES} bytes")
    return mistakes


def _covers_integrations(prefix: str, *, whole: bool) -> bool:
    """Return whether names that begin with ``prefix``, or that are it as a ``whole``, can be those of an integration.

    An integration's namespace is ``default`` or an operator's own word, and a dataset has no hyphen.
    """
    kind, hyphen, rest = prefix.partition("-")
    dataset, second_hyphen, namespace = rest.partition("-")
    if whole:
        return kind in _TYPES and bool(dataset) and namespace == _DEFAULT_NAMESPACE
    if not hyphen:
        return any(name.startswith(kind) for name in _TYPES)
    return kind in _TYPES and (not second_hyphen or _DEFAULT_NAMESPACE.startswith(namespace))
