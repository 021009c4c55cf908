"""``auditsplit completeness``: what is missing, what is there twice, and when nothing came."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click

from auditsplit import auth, replay
from auditsplit.archive import completeness
from auditsplit.archive.completeness import Findings
from auditsplit.decode import compression
from auditsplit.errors import Undecodable
from auditsplit.routing.template import RESERVED

_READING = click.Path(exists=True, dir_okay=False, path_type=Path)
_STORED = click.Path(exists=True, path_type=Path)
_TIME = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%SZ"])
_OWN = frozenset(RESERVED)
_SHOWN = 20


@click.group("completeness")
def command() -> None:
    """Tell whether anything is missing between the apiservers and the stores."""


@command.command()
@click.argument("before", type=_READING)
@click.argument("after", type=_READING)
@click.option("--cluster", default="default", show_default=True, help="The cluster that the apiservers are of.")
@click.option("--on-the-way", default=0, show_default=True, help="How many events may still lie in buffers.")
def counters(before: Path, after: Path, cluster: str, on_the_way: int) -> None:
    r"""Compare what the apiservers made with what was stored, between two readings of both sides' metrics.

    BEFORE and AFTER are files, each with /metrics of all the cluster's apiservers and then of the receiver:

    \b
      (kubectl get --raw /metrics; curl -s http://127.0.0.1:8888/metrics) > before

    Exits with 1 where events were lost or are missing.
    """
    if not importlib.util.find_spec("prometheus_client"):
        raise click.UsageError("reading metrics needs the package prometheus_client; install auditsplit[metrics]")
    if not auth.CLUSTER.fullmatch(cluster):
        raise click.BadParameter("write a-z 0-9 - . and at most 63 characters", param_hint="--cluster")
    try:
        found = completeness.balance(before.read_text(), after.read_text(), cluster)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    click.echo(f"made by the apiservers: {found.made}")
    for plugin, count in sorted(found.lost.items()):
        click.echo(f"lost by their {plugin} backend: {count}")
    click.echo(f"stored: {found.stored} (and {found.again} again, by retries)")
    click.echo(f"missing: {found.missing}")
    sys.exit(1 if found.lost or not 0 <= found.missing <= on_the_way else 0)


@command.command()
@click.argument("stored", metavar="PATH...", nargs=-1, required=True, type=_STORED)
@click.option("--since", type=_TIME, default="1970-01-01", help="From this time on, in UTC.  [default: all]")
@click.option("--until", type=_TIME, default="9999-01-01", help="Before this time, in UTC.  [default: all]")
@click.option("--silence", default=300, show_default=True, help="How many seconds without an event are a gap.")
def lines(stored: tuple[Path, ...], since: datetime, until: datetime, silence: int) -> None:
    """Look for gaps and duplicates in stored lines of one cluster.

    PATH is a file of lines as the stores write them (gzip is recognised), or a folder of such files. Exits with 1 where
    there is a gap, a duplicate, a request without an end, or a line that is no event.
    """
    try:
        found = completeness.inspect(
            _lines(stored), since.replace(tzinfo=UTC), until.replace(tzinfo=UTC), timedelta(seconds=silence)
        )
    except Undecodable as error:
        raise click.UsageError(error.detail) from error
    for text in _report(found, silence):
        click.echo(text)
    sys.exit(1 if found.twice or found.unended or found.broken or found.silences else 0)


def _report(found: Findings, silence: int) -> Iterator[str]:
    yield f"events: {found.events}" + (f", from {found.first:%FT%TZ} to {found.last:%FT%TZ}" if found.events else "")
    yield f"twice: {found.twice}"
    yield f"requests without an end: {found.unended}"
    yield f"lines that are no events: {found.broken}"
    yield f"gaps of over {silence} s: {len(found.silences)}"
    for start, end in found.silences[:_SHOWN]:
        yield f"  nothing between {start:%FT%TZ} and {end:%FT%TZ}"


def _lines(stored: tuple[Path, ...]) -> Iterator[bytes]:
    for path in stored:
        for file in _files(path) if path.is_dir() else [path]:
            with file.open("rb") as stream, compression.gzip_errors():
                yield from replay.decompressed(stream)


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file() and not _OWN & set(path.parts))
