"""Bootstrap: the only place that composes. Logs, settings, sinks and recovery become a function.

functions-framework, Lambda, the command line and the tests all start here. Another kind of function adds its own
composing function; the modules of ingest are imported by `receiver` alone.
"""

from __future__ import annotations

import atexit
import importlib.util
import logging
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from auditsplit.errors import SettingsError
from auditsplit.telemetry import logs

if TYPE_CHECKING:  # imported by those functions alone that need it
    from auditsplit.ingest import Destination, Ingest
    from auditsplit.policy import Transform
    from auditsplit.serve.compaction import Compaction
    from auditsplit.serve.counting import Metrics
    from auditsplit.serve.receiver import Receiver
    from auditsplit.settings import Settings
    from auditsplit.sinks.options import Options, Target

_log = logging.getLogger(__name__)


def counting_receiver(environ: Mapping[str, str]) -> Receiver:
    """Return the `receiver` of a server process, which counts requests for Prometheus where that is installed."""
    return receiver(environ, _metrics(environ))


def receiver(environ: Mapping[str, str], metrics: Metrics | None = None) -> Receiver:
    """Return the function that receives audit events, with its sinks recovered.

    `SettingsError` has every mistake in ``environ``.
    """
    from auditsplit.serve.receiver import Receiver  # noqa: PLC0415 - see the module
    from auditsplit.settings import Settings  # noqa: PLC0415

    logs.configure()
    settings = Settings.read(environ)
    function = Receiver(settings, ingest(settings, environ), metrics)
    function.recover()
    if not settings.tokens and not settings.log_groups:
        _log.warning(
            "AUDIT_TOKENS is not set: only senders on this machine are accepted; "
            "'auditsplit token <cluster>' makes a token"
        )
    return function


def compaction(environ: Mapping[str, str]) -> Compaction:
    """Return the function that compacts the object stores of ``AUDIT_SINKS``. It needs no other setting.

    `SettingsError` has every mistake in ``environ``.
    """
    from auditsplit.archive.compaction import object_stores  # noqa: PLC0415 - see the module
    from auditsplit.serve.compaction import Compaction  # noqa: PLC0415
    from auditsplit.settings import read_sinks  # noqa: PLC0415

    logs.configure()
    return Compaction(object_stores(read_sinks(environ)), environ)


def ingest(settings: Settings, environ: Mapping[str, str]) -> Ingest:
    """Return the use case with its sinks, none of which is touched yet; see `destinations` for errors."""
    from auditsplit.ingest import Ingest  # noqa: PLC0415

    for policy in (settings.policy, *(target.options.policy for target in settings.sinks)):
        for warning in policy.warnings:
            _log.warning("audit policy: %s", warning)
    return Ingest(destinations(settings, environ), shared_transforms(settings))


def shared_transforms(settings: Settings) -> list[Transform]:
    """Return the transforms for all sinks, in their order."""
    return [transform for transform in (settings.policy, settings.redaction, settings.truncation) if transform]


def destinations(settings: Settings, environ: Mapping[str, str]) -> list[Destination]:
    """Return the sinks that the settings name, each with its own transforms.

    The sinks' credentials come from ``environ``. `SettingsError` where they don't go together, where the key of a sink
    would mix the events of several clusters, or where two sinks have the same place: the second would find every batch
    stored already.
    """
    from auditsplit import sinks  # noqa: PLC0415
    from auditsplit.ingest import Destination  # noqa: PLC0415

    opened: list[Destination] = []
    mistakes: list[str] = []
    places: set[str] = set()
    for target in settings.sinks:
        try:
            sink = sinks.open_sink(target, environ)
        except ValueError as error:
            mistakes += [f"AUDIT_SINKS: {target.url}: {line}" for line in str(error).splitlines()]
            continue
        root = getattr(sink, "root", None)
        place = os.path.realpath(root) if isinstance(root, Path) else sink.name
        if place in places:
            mistakes.append(f"AUDIT_SINKS: {sink.name} is named twice. Give each sink a place of its own")
        places.add(place)
        mistakes += _mixed(target, settings.clusters)
        opened.append(Destination(sink, target.options.transforms))
    if mistakes:
        raise SettingsError(*mistakes)
    return sorted(opened, key=lambda destination: not destination.sink.required)  # those that may be slow go last


def _mixed(target: Target[Options], clusters: list[str]) -> Iterator[str]:
    """Yield the mistake if the sink's key would mix the events of these clusters.

    An event does not name its cluster. Documents in Elasticsearch do, so a data stream may have several clusters'.
    """
    from auditsplit.routing.template import KeyTemplate  # noqa: PLC0415

    key = getattr(target.options, "key", None)
    if len(clusters) > 1 and isinstance(key, KeyTemplate) and not key.has_cluster:
        yield (
            f"AUDIT_KEY: {str(key)!r} has no {{cluster}}, so in {target.url} nobody could tell the events of "
            f"{', '.join(clusters)} apart. Write AUDIT_KEY='{{cluster}}/{key}', or key={{cluster}}/{key} in the sink's "
            "URL if that has a key"
        )


def _metrics(environ: Mapping[str, str]) -> Metrics | None:
    """Return what counts for Prometheus, if it is installed. On Cloud Run nobody can ask a single instance."""
    if "K_SERVICE" in environ or not importlib.util.find_spec("prometheus_client"):
        return None
    try:
        from auditsplit.telemetry import metrics  # noqa: PLC0415 - costs 70 ms
    except OSError as error:
        _log.error("no metrics until the next start: no folder for them can be made: %s", error)
        return None
    main_process = os.getpid()
    atexit.register(lambda: metrics.forget() if os.getpid() == main_process else None)
    return metrics
