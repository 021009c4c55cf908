"""``auditsplit completeness``: find missing events, duplicates and times without events."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
import msgspec

from auditsplit import auth, replay
from auditsplit.archive.completeness import Balance, Inspection, balance, inspect
from auditsplit.archive.tree import log_files
from auditsplit.cli.support.contract import FINDINGS, Group, example, output_option, print_json
from auditsplit.decode import compression
from auditsplit.errors import Undecodable

_METRICS_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_FILE_OR_FOLDER = click.Path(exists=True, path_type=Path)
_TIME = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%SZ"])
_MAX_GAPS_SHOWN = 20
_EXAMPLE = example(
    "(kubectl get --raw /metrics; curl -s 127.0.0.1:8888/metrics) > before",
    "auditsplit completeness counters before after",
)


@click.group(cls=Group, epilog=example("auditsplit completeness lines var/log/kube-audit-alice"))
def completeness() -> None:
    """Check whether events are missing between the apiservers and the sinks."""


@completeness.command(epilog=_EXAMPLE)
@click.argument("before", type=_METRICS_FILE)
@click.argument("after", type=_METRICS_FILE)
@click.option("--cluster", default="default", show_default=True, help="The apiservers' cluster.")
@click.option("--on-the-way", default=0, show_default=True, help="How many events may still be in buffers.")
@output_option
def counters(before: Path, after: Path, cluster: str, on_the_way: int, *, as_json: bool) -> None:
    """Compare the events that the apiservers made with those that were stored, between two readings of the metrics.

    BEFORE and AFTER are files. Each has the /metrics of all the cluster's apiservers and then of the receiver. Exits
    with 1 if events were lost or are missing.
    """
    if not importlib.util.find_spec("prometheus_client"):
        raise click.UsageError(
            "reading metrics requires the package prometheus_client. Install auditsplit with the extra 'metrics'"
        )
    try:
        auth.check_cluster(cluster)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--cluster") from error
    try:
        events = balance(before.read_text(), after.read_text(), cluster)
    except ValueError as error:
        mistake = str(error) or f"{before} or {after} is not Prometheus' text format. Write what /metrics answers"
        raise click.UsageError(mistake) from error
    if as_json:
        print_json({**events._asdict(), "missing": events.missing})
    else:
        click.echo("\n".join(_balanced(events)))
    sys.exit(FINDINGS if events.lost or not 0 <= events.missing <= on_the_way else 0)


def _balanced(events: Balance) -> Iterator[str]:
    yield f"made by the apiservers: {events.made}"
    for plugin, count in sorted(events.lost.items()):
        yield f"lost by the apiservers' {plugin} backend: {count}"
    yield f"stored: {events.stored} (and {events.duplicates} duplicates, by retries)"
    if events.omitted:
        yield f"dropped by AUDIT_POLICY: {events.omitted}"
    if events.too_large:
        yield f"dropped by AUDIT_TRUNCATE_MAX_EVENT_SIZE: {events.too_large}"
    yield f"missing: {events.missing}"


@completeness.command(epilog=example("auditsplit completeness lines var/log --silence 600"))
@click.argument("stored", metavar="PATH...", nargs=-1, required=True, type=_FILE_OR_FOLDER)
@click.option("--since", type=_TIME, default="1970-01-01", help="From this time on, in UTC.  [default: all]")
@click.option("--until", type=_TIME, default="9999-01-01", help="Before this time, in UTC.  [default: all]")
@click.option("--silence", default=300, show_default=True, help="More seconds than this without an event are a gap.")
@output_option
def lines(stored: tuple[Path, ...], since: datetime, until: datetime, silence: int, *, as_json: bool) -> None:
    """Look for gaps and duplicates in stored lines of one cluster.

    PATH is a file of lines in the sinks' format log, perhaps compressed with gzip, or a folder of such files. Exits
    with 1 if there is a gap, a duplicate, a request without its last stage, or a malformed line, and if no event has
    a time.
    """
    try:
        result = inspect(
            _lines(stored), since.replace(tzinfo=UTC), until.replace(tzinfo=UTC), timedelta(seconds=silence)
        )
    except Undecodable as error:
        raise click.UsageError(error.detail) from error
    if as_json:
        print_json(msgspec.to_builtins(result))
    else:
        click.echo("\n".join(_report(result, silence)))
    if not result.events:
        click.echo(
            "no event has a time from --since until --until, so nothing is shown. Check the paths and the times",
            err=True,
        )
    sys.exit(0 if result.is_complete else FINDINGS)


def _report(result: Inspection, silence: int) -> Iterator[str]:
    times = f", from {result.first:%FT%TZ} to {result.last:%FT%TZ}" if result.events else ""
    yield f"events: {result.events}{times}"
    yield f"events without a time: {result.untimed}"
    yield f"duplicates: {result.duplicates}"
    for request, copies in result.repeated.items():
        yield f"  {request} is stored {copies} times"
    yield f"requests without an end: {result.unended}"
    yield f"malformed lines: {result.malformed}"
    yield f"gaps of over {silence} s: {len(result.silences)}"
    for start, end in result.silences[:_MAX_GAPS_SHOWN]:
        yield f"  no event between {start:%FT%TZ} and {end:%FT%TZ}"


def _lines(stored: tuple[Path, ...]) -> Iterator[bytes]:
    for path in stored:
        for file in log_files(path) if path.is_dir() else [path]:
            with file.open("rb") as stream, compression.gzip_errors():
                yield from replay.decompressed(stream)
