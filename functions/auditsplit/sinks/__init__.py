"""Sinks: what each of them can do, and which one a URL names."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol, cast, runtime_checkable
from urllib.parse import urlsplit

from auditsplit.deadline import Deadline
from auditsplit.event import Batch
from auditsplit.routing.fields import WhichUser
from auditsplit.sinks.options import Options, Target, parse_target


class Written(NamedTuple):
    """What one `Sink.write` did."""

    new: bool | None
    """Whether the sink stored anything that it had not stored before. None if it cannot tell."""
    size_bytes: int
    """What the sink was given, in bytes, after compression."""
    undelivered: Mapping[str, int] = MappingProxyType({})
    """By sink that is not required: the events that it did not get, and will not get. 0 if it got all."""


class Sink(Protocol):
    """Where events go.

    Every method raises `SinkError` when the sink fails. A retry with the same bytes is then always safe.
    """

    name: str
    """What logs and answers call it: its URL without options."""
    required: bool
    """Whether a batch is acknowledged only once the sink holds it."""

    def write(self, batch: Batch, deadline: Deadline) -> Written:
        """Return once the batch's events are durable."""

    def reject(self, cluster: str, digest: str, body: bytes, deadline: Deadline) -> str:
        """Write a malformed body under its ``digest`` and return its location. Writing it twice leaves one copy.

        The location is empty if the sink keeps no malformed bodies.
        """

    def recover(self) -> None:
        """Finish what a killed process left unfinished. Called once, at the start."""

    def check(self, deadline: Deadline, /) -> None:
        """Return if the sink would accept a batch now."""


@runtime_checkable
class Remembers(Protocol):
    """A sink that can tell at once whether it holds a batch, so that a retry need not be decoded."""

    def remembers(self, batch_id: str, deadline: Deadline, /) -> bool:
        """Return whether `Sink.write` of the batch would find it stored. False where the sink is not sure."""


@runtime_checkable
class Composed(Protocol):
    """A sink of other sinks."""

    def parts(self) -> Sequence[Sink]:
        """Return the other sinks as they are now."""


class _Kind(NamedTuple):
    module: str
    extra: str = ""


_ELASTICSEARCH = _Kind("auditsplit.sinks.elasticsearch.sink", "elasticsearch")
_WEBHOOK = _Kind("auditsplit.sinks.webhook.sink")
_KINDS: Mapping[str, _Kind] = {
    "auditsink": _Kind("auditsplit.sinks.auditsink.sink"),
    "auditsink+kubernetes": _Kind("auditsplit.sinks.auditsink.cluster", "kubernetes"),
    "az": _Kind("auditsplit.sinks.objects.azure", "azure"),
    "elasticsearch+http": _ELASTICSEARCH,
    "elasticsearch+https": _ELASTICSEARCH,
    "file": _Kind("auditsplit.sinks.file.sink"),
    "gs": _Kind("auditsplit.sinks.objects.gcs", "gcs"),
    "memory": _Kind("auditsplit.sinks.memory"),
    "s3": _Kind("auditsplit.sinks.objects.s3", "s3"),
    "stdout": _Kind("auditsplit.sinks.stdout"),
    "webhook": _WEBHOOK,
    "webhook+http": _WEBHOOK,
    "webhook+https": _WEBHOOK,
}
SCHEMES = tuple(_KINDS)
"""The schemes of all sinks' URLs."""


class SinkModule(Protocol):
    """What the module of a sink offers beside its class."""

    Options: type[Options]
    """The declaration of its options."""

    def mistakes(self, target: Target[Any], /) -> Iterable[str]:
        """Yield what is wrong with the URL's host and path, and options that don't go together.

        Messages show the setting and the URL before each sentence. Begin a sentence about an option with its name and a
        colon.
        """

    def build(self, target: Target[Any], environ: Mapping[str, str], /) -> Sink:
        """Return the sink without touching it. Credentials come from ``environ``, never from the URL."""


def module_of(scheme: str) -> SinkModule:
    """Return the sink's module. ``ValueError`` says which package is missing, or which schemes there are."""
    if scheme not in _KINDS:
        raise ValueError(f"no sink has the scheme {scheme!r}. Write one of {', '.join(SCHEMES)}")
    kind = _KINDS[scheme]
    try:
        return cast("SinkModule", importlib.import_module(kind.module))
    except ModuleNotFoundError as error:
        raise ValueError(
            f"this sink requires the package {error.name}. Install auditsplit with the extra {kind.extra!r}"
        ) from error


def read_target(url: str, defaults: Mapping[str, str], user: WhichUser) -> Target[Options]:
    """Return the target that ``url`` names. ``ValueError`` has every mistake on a line of its own.

    ``defaults`` are options that the URL doesn't have to repeat. Only the module of that sink is imported.
    """
    module = module_of(urlsplit(url).scheme)
    target, mistakes = parse_target(url, module.Options, defaults, user)
    mistakes += module.mistakes(target)
    if mistakes:
        raise ValueError("\n".join(mistakes))
    return target


def open_sink(target: Target[Options], environ: Mapping[str, str]) -> Sink:
    """Return the sink of a ``target``, without touching it.

    Credentials come from ``environ`` or the driver's own chain. ``ValueError`` where they don't go together.
    """
    return module_of(target.scheme).build(target, environ)


def from_url(
    url: str,
    defaults: Mapping[str, str] = MappingProxyType({}),
    user: WhichUser = "authenticated",
    environ: Mapping[str, str] = os.environ,
) -> Sink:
    """Return the sink that ``url`` names; see `read_target` and `open_sink`."""
    return open_sink(read_target(url, defaults, user), environ)
