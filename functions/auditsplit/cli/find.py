"""``auditsplit find``: find events by who did what to which object, when and from where."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from auditsplit.archive.find import sources
from auditsplit.archive.find.identities import Identities
from auditsplit.archive.find.search import Search, Seen
from auditsplit.archive.find.sources import Source
from auditsplit.cli.support.contract import FINDINGS, Refused, example, reason
from auditsplit.cli.support.criteria import criteria, criteria_options
from auditsplit.cli.support.found_output import TOPS, Json, Lines, Output, Table, Top
from auditsplit.cli.support.progress import Progress, size
from auditsplit.errors import AuditsplitError

_EXAMPLE = example(
    "auditsplit find --verb delete --resource deployments --name web --since 2h /var/log/kubernetes/audit",
    "auditsplit find --user alice --failed --top resource audit.log",
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
    """Find events by who did what to which object, when and from where."""
    printer = _output(output, top)
    failed = _find(list(_sources(places)), Search(criteria(values)), printer)
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


def _sources(places: tuple[str, ...]) -> Iterator[Source]:
    for place in map(Path, places):
        if place != sources.PIPE and not place.exists():
            raise Refused([f"{place}: there is no such file or folder"])
        yield from sources.files(place)
