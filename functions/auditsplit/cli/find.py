"""``auditsplit find``: find events by who did what to which object, when and from where."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click

from auditsplit.archive.find import sources
from auditsplit.archive.find.criteria import Criteria
from auditsplit.archive.find.identities import Identities
from auditsplit.archive.find.places import Places
from auditsplit.archive.find.search import Search, Seen
from auditsplit.archive.find.sources import Source
from auditsplit.cli.support.contract import FINDINGS, Refused, example, reason
from auditsplit.cli.support.criteria import criteria, criteria_options
from auditsplit.cli.support.environment import read_settings
from auditsplit.cli.support.found_output import TOPS, Json, Lines, Output, Table, Top
from auditsplit.cli.support.progress import Progress, size
from auditsplit.errors import AuditsplitError
from auditsplit.settings import Settings
from auditsplit.sinks import SCHEMES
from auditsplit.sinks.file.options import Options as FileOptions

_EXAMPLE = example(
    "AUDIT_SINKS=file:var/log auditsplit find --verb delete --resource deployments --name web --since 2h",
    "auditsplit find --failed --since 2026-11-23T14:00Z --top user 'file:var/log?key=kube-audit-{user}/audit'",
    "auditsplit find --user alice audit.log",
)


@click.command(epilog=_EXAMPLE)
@click.argument("places", metavar="[PLACE]...", nargs=-1)
@criteria_options
@click.option("--top", type=click.Choice(list(TOPS)), help="Count the found events by this, the most first.")
@click.option(
    "--output",
    type=click.Choice(["table", "wide", "json", "lines"]),
    default="table",
    show_default=True,
    help="The format of the results. lines are the stored lines.",
)
def find(places: tuple[str, ...], top: str | None, output: str, **values: Any) -> None:
    """Find events by who did what to which object, when and from where.

    PLACE is an audit log, a file with an EventList, a folder of such files, - for standard input, or the URL of a file
    sink. Files may be compressed with gzip or zstd. Without a PLACE, the sinks in AUDIT_SINKS are searched. Of a sink,
    only those files are read whose keys can have the user, namespace, verb, resource, stage and time that are looked
    for.

    An event must match all options. Of an option that is given several times, it must match one value. An event that
    is stored several times is printed once.

    Exits with 1 if nothing was found, or if a file could not be read to its end.
    """
    printer, chosen = _output(output, top), criteria(values)
    failed = _find(list(_sources(places, chosen)), Search(chosen), printer)
    sys.exit(FINDINGS if failed else 0)


def _find(places: list[Source], search: Search, printer: Output) -> bool:
    """Print what is found. Return whether nothing was, or whether a place could not be read to its end."""
    seen, identities, progress = Seen(), Identities(), Progress()
    events, failed = 0, False

    def show() -> None:
        progress.show(f"{size(seen.size_bytes)} read, {events} events found")

    for place in places:
        before = seen.malformed
        seen.first_malformed = ""
        try:
            with place.open() as stream:
                for found in search.events(stream, seen, show):
                    if identities.is_new(found.event, found.head):
                        events += 1
                        progress.clear()
                        printer.add(found, place.name)
        except BrokenPipeError:
            raise  # the reader of the results has enough
        except (AuditsplitError, OSError) as error:
            failed = True
            progress.clear()
            click.echo(f"error: {place.name}: {reason(error)}. Its other lines were not searched", err=True)
        if seen.malformed > before:
            progress.clear()
            click.echo(
                f"warning: {place.name}: {seen.malformed - before} lines may match, but are not events. "
                f"The first: {seen.first_malformed}",
                err=True,
            )
    progress.clear()
    printer.end(events)
    return failed or not events


def _output(output: str, top: str | None) -> Output:
    if top is not None:
        if output not in ("table", "json"):
            raise click.UsageError(f"--top has no --output {output}. Write table or json")
        return Top(top, as_json=output == "json")
    if output == "json":
        return Json()
    return Lines() if output == "lines" else Table(wide=output == "wide")


def _sources(places: tuple[str, ...], chosen: Criteria) -> Iterator[Source]:
    """Yield what is searched, of the places or of the sinks in the settings."""
    if not places:
        yield from _of_sinks(read_settings(), chosen)
    for place in places:
        if urlsplit(place).scheme in SCHEMES:
            yield from _of_sinks(read_settings({**os.environ, "AUDIT_SINKS": place}), chosen)
            continue
        path = Path(place)
        if path != sources.PIPE and not path.exists():
            raise Refused([f"{place}: there is no such file or folder"])
        yield from sources.files(path)


def _of_sinks(settings: Settings, chosen: Criteria) -> Iterator[Source]:
    """Yield the files of the sinks that may hold what is looked for."""
    for target in settings.sinks:
        if not isinstance(target.options, FileOptions):
            raise Refused([f"{target.url}: find cannot read this sink. Name a file sink, or download its objects"])
        if not Path(target.path).is_dir():
            raise Refused([f"{target.url}: there is no such folder. Check AUDIT_SINKS or PLACE"])
        if target.options.format != "log":
            raise Refused(
                [f"{target.url}: find cannot read the format {target.options.format}. It reads the format log"]
            )
        yield from sources.of_sink(Path(target.path), Places(target.options.key, chosen))
