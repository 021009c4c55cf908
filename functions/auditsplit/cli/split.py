"""``auditsplit split``: split recorded files into the sinks."""

from __future__ import annotations

import io
import os
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from auditsplit import auth, replay
from auditsplit.archive import named
from auditsplit.cli.support.backfilling import Chosen, backfill
from auditsplit.cli.support.contract import FINDINGS, Refused, example, output_option, print_json, reason
from auditsplit.cli.support.environment import open_ingest, read_settings, refuse
from auditsplit.cli.support.moments import MOMENT
from auditsplit.decode import pieces
from auditsplit.errors import AuditsplitError, Undecodable
from auditsplit.ingest import Ingest
from auditsplit.routing.template import RESERVED
from auditsplit.settings import Settings
from auditsplit.sinks.file.sink import FileSink

_SOURCE = click.Path(exists=True, allow_dash=True, path_type=Path)
_TAR_NAMES = (".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz", ".tar.zst")


@click.command(epilog=example("AUDIT_SINKS=file:audit auditsplit split audit.log"))
@click.argument("sources", metavar="PATH...", nargs=-1, required=True, type=_SOURCE)
@click.option("--cluster", help="The cluster that the events come from.  [default: AUDIT_CLUSTER, or default]")
@click.option("--only-missing", is_flag=True, help="Write only those events that the sinks do not hold.")
@click.option("--since", metavar="TIME", type=MOMENT, help="With --only-missing: events from this time on.")
@click.option("--until", metavar="TIME", type=MOMENT, help="With --only-missing: events before this time.")
@click.option(
    "--settle",
    metavar="SECONDS",
    type=click.IntRange(min=0),
    default=300,
    show_default=True,
    help="With --only-missing: leave out younger events, which the webhook may still deliver.",
)
@output_option
def split(
    sources: tuple[Path, ...],
    cluster: str | None,
    *,
    only_missing: bool,
    as_json: bool,
    **window: Any,
) -> None:
    """Split recorded EventLists or audit log files into the configured sinks.

    PATH is a file or a folder. A file has an EventList or an Event in JSON, or one on each line, like kube-apiserver's
    audit log. It may be compressed with gzip or zstd. The lines may also be those of a container's log (CRI or Docker).
    In a folder, all files below it are split, in the order of their names, without hidden files. - is standard input.

    With --only-missing, the sinks are read first (file, s3, gs and az, with credentials that may read), and only events
    are written whose lines they do not hold: after an outage of the webhook, from kube-apiserver's log. So a second run
    writes nothing.

    Exits with 1 if an item was malformed, and so is now below _rejected/, or if a file could not be split to its end.
    The other files are split all the same.
    """
    settings = read_settings()
    if as_json and any(target.scheme == "stdout" for target in settings.sinks):
        refuse(["--output: must be text with the sink stdout:, because its lines go to standard output too"])
    cluster = _checked(settings.cluster if cluster is None else cluster)
    if only_missing:
        whole = backfill(_files(sources), cluster, settings, Chosen(**window), as_json=as_json)
        sys.exit(0 if whole else FINDINGS)
    if window["since"] or window["until"]:
        raise click.UsageError("--since and --until require --only-missing")
    ingest = open_ingest(settings)
    _warn_of_mixing(cluster, ingest)
    counts: Counter[str] = Counter()
    failed = False
    for source in _files(sources):
        try:
            _expect_log(source, settings)
            before = counts.total()
            for piece in _split(source, cluster, ingest, settings.max_body_bytes):
                counts.update(piece.counts)
            if counts.total() == before:
                click.echo(f"warning: {source}: there is no event in this file", err=True)
        except (AuditsplitError, OSError) as error:
            failed = True
            click.echo(
                f"error: {source}: {reason(error)}. Split it again. Events that are stored are not stored twice",
                err=True,
            )
    names = [sink.name for sink in ingest.sinks]
    if as_json:
        print_json({"sinks": names, **_summary(counts)})
    else:
        click.echo(_sentence(names, _summary(counts)), err=True)
    sys.exit(FINDINGS if counts["rejected"] or failed else 0)


def _checked(cluster: str) -> str:
    """Return the name of a cluster. Exit if it is not valid."""
    try:
        auth.check_cluster(cluster)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--cluster") from error
    return cluster


def _summary(counts: Counter[str]) -> dict[str, int]:
    """Return how many events were stored, and stored before, and how many items were rejected or skipped."""
    before = counts["duplicate"]
    stored = counts["events"] - before
    others = {name: counts[name] for name in ("rejected", "omitted", "tooLarge", "undelivered", "skipped")}
    return {"stored": stored, "storedBefore": before, **others}


def _sentence(sinks: list[str], counts: dict[str, int]) -> str:
    return (
        f"{counts['stored']} events stored in {', '.join(sinks)}, "
        f"{counts['storedBefore']} were stored before, {counts['rejected']} rejected"
        + (f", {counts['omitted']} dropped by policy" if counts["omitted"] else "")
        + (f", {counts['tooLarge']} dropped because they are too large" if counts["tooLarge"] else "")
        + (f", {counts['undelivered']} not delivered to sinks that are not required" if counts["undelivered"] else "")
        + (f", {counts['skipped']} records of other logs left out" if counts["skipped"] else "")
    )


def _warn_of_mixing(cluster: str, ingest: Ingest) -> None:
    """Warn if files that hold another cluster's events would get those of ``cluster`` too."""
    for sink in ingest.sinks:
        try:
            others = sink.mixed_with(cluster) if isinstance(sink, FileSink) else []
        except OSError as error:
            click.echo(f"warning: {sink.name}: cannot read which clusters' events it holds: {reason(error)}", err=True)
            continue
        if others:
            click.echo(
                f"warning: {sink.name} holds events of {', '.join(others)}. Those of {cluster} go to the same files, "
                "where nobody can tell them apart. Set an AUDIT_KEY with {cluster}, or another folder in AUDIT_SINKS",
                err=True,
            )


def _files(sources: tuple[Path, ...]) -> Iterator[Path]:
    """Yield the files among ``sources``, and those below the folders among them."""
    for source in sources:
        files = [file.path for file in named.files(source)]
        if not files:
            raise Refused([f"{source}: there is no file below this folder. Hidden files don't count"])
        yield from files


def _expect_log(source: Path, settings: Settings) -> None:
    """Raise `Undecodable` if ``source`` is an archive, or a file that splitting it would write to."""
    if source.name.endswith(_TAR_NAMES):
        raise Undecodable(pieces.TAR)
    for target in settings.sinks:
        root = Path(target.path).resolve()
        if target.scheme == "file" and source.resolve().is_relative_to(root):
            inside = source.resolve().relative_to(root).parts
            if inside[:1] not in [(own,) for own in RESERVED]:
                raise Undecodable(f"the file is in the sink {target.url} itself. Set AUDIT_SINKS to another place")


def _split(source: Path, cluster: str, ingest: Ingest, max_bytes: int) -> Iterator[replay.Delivered]:
    """Yield the outcome of each piece of a file. Show a progress bar on a terminal."""
    piped = source == named.PIPE
    with io.FileIO(0, closefd=False) if piped else io.FileIO(source) as raw, io.BufferedReader(raw) as stream:
        size = 0 if piped else os.fstat(raw.fileno()).st_size
        hidden = not (size and sys.stderr.isatty())
        with click.progressbar(length=size, label=str(source), file=sys.stderr, hidden=hidden) as bar:
            for piece in replay.split(stream, cluster, ingest, max_bytes):
                for complaint in piece.complaints:
                    click.echo(f"{source}: {complaint}", err=True)
                bar.update(0 if hidden else max(0, raw.tell() - bar.pos))
                yield piece
