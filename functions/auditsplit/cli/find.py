"""``auditsplit find``: find events by who did what to which object, when and from where."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click

from auditsplit.archive import named
from auditsplit.archive.find.criteria import Criteria
from auditsplit.archive.find.identities import Identities
from auditsplit.archive.find.places import Places
from auditsplit.archive.find.search import MAX_LINE_BYTES, Search, Seen
from auditsplit.archive.reader import Reader, Source
from auditsplit.archive.readers import open_reader
from auditsplit.cli.support.contract import FINDINGS, Refused, example, reason
from auditsplit.cli.support.criteria import criteria, criteria_options
from auditsplit.cli.support.environment import read_settings
from auditsplit.cli.support.found_output import TOPS, Json, Lines, Output, Table, Top
from auditsplit.cli.support.progress import Progress, size
from auditsplit.errors import AuditsplitError, SinkError
from auditsplit.sinks import SCHEMES

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

    PLACE is an audit log, a file with an EventList, a folder of such files, - for standard input, or the URL of a sink
    (file, s3, gs or az). Files may be compressed with gzip or zstd. Without a PLACE, the sinks in AUDIT_SINKS are
    searched. Of a sink, only those files and objects are read whose keys can have the user, namespace, verb, resource,
    stage and time that are looked for. Reading requires other credentials than the function has: it may only put.

    An event must match all options. Of an option that is given several times, it must match one value. An event that
    is stored several times is printed once.

    Exits with 1 if nothing was found, or if a file could not be read to its end.
    """
    printer, chosen = _output(output, top), criteria(values)
    failed = _find(_sources(places, chosen), Search(chosen), printer)
    sys.exit(FINDINGS if failed else 0)


def _find(places: Iterator[Source], search: Search, printer: Output) -> bool:
    """Print what is found. Return whether nothing was, or whether a place could not be read to its end."""
    finder = _Finder(search, printer)
    try:
        for place in places:
            finder.look_into(place)
    except SinkError as error:
        finder.complain(f"error: {error}. Other places were not searched")
        finder.failed = True
    finder.progress.clear()
    printer.end(finder.events)
    return finder.failed or not finder.events


class _Finder:
    """Searches places one after another."""

    def __init__(self, search: Search, printer: Output) -> None:
        self._search, self._printer = search, printer
        self._seen, self._identities, self.progress = Seen(), Identities(), Progress()
        self.events, self.failed = 0, False

    def look_into(self, place: Source) -> None:
        """Print what is found in a place, and complain of what cannot be read."""
        before = self._seen.malformed, self._seen.too_long
        self._seen.first_malformed = ""
        try:
            with place.open() as stream:
                for found in self._search.events(stream, self._seen, self._show):
                    if self._identities.is_new(found.event, found.head):
                        self.events += 1
                        self.progress.clear()
                        self._printer.add(found, place.name)
        except BrokenPipeError:
            raise  # the reader of the results has enough
        except (AuditsplitError, OSError) as error:
            self.failed = True
            self.complain(f"error: {place.name}: {reason(error)}. Its other lines were not searched")
        malformed, too_long = self._seen.malformed - before[0], self._seen.too_long - before[1]
        if malformed:
            self.complain(
                f"warning: {place.name}: {malformed} lines may match, but are not events. "
                f"The first: {self._seen.first_malformed}"
            )
        if too_long:
            self.complain(f"warning: {place.name}: {too_long} lines of over {size(MAX_LINE_BYTES)} were not searched")

    def complain(self, message: str) -> None:
        """Print a message in place of the progress."""
        self.progress.clear()
        click.echo(message, err=True)

    def _show(self) -> None:
        self.progress.show(f"{size(self._seen.size_bytes)} read, {self.events} events found")


def _output(output: str, top: str | None) -> Output:
    if top is not None:
        if output not in ("table", "json"):
            raise click.UsageError(f"--top has no --output {output}. Write table or json")
        return Top(top, as_json=output == "json")
    if output == "json":
        return Json()
    return Lines() if output == "lines" else Table(wide=output == "wide")


def _sources(places: tuple[str, ...], chosen: Criteria) -> Iterator[Source]:
    """Return what is searched: the places, or the sinks in the settings. Exit if a place does not exist."""
    readers: list[Reader] = [] if places else list(_readers(os.environ))
    files: list[Path] = []
    for place in places:
        if urlsplit(place).scheme in SCHEMES:
            readers += _readers({**os.environ, "AUDIT_SINKS": place})
            continue
        path = Path(place)
        if path != named.PIPE and not path.exists():
            raise Refused([f"{place}: there is no such file or folder"])
        files.append(path)
    of_readers = (source for each in readers for source in each.sources(Places(each.template, chosen)))
    return itertools.chain(of_readers, itertools.chain.from_iterable(map(named.files, files)))


def _readers(environ: Mapping[str, str]) -> Iterator[Reader]:
    """Yield a reader of each sink in the settings."""
    for target in read_settings(environ).sinks:
        try:
            reader = open_reader(target, environ)
        except ValueError as error:
            raise Refused([f"AUDIT_SINKS: {error}"]) from error
        if getattr(target.options, "format", "log") != "log":
            raise Refused([f"{target.url}: find reads lines in the format log only"])
        if target.scheme == "file" and not Path(target.path).is_dir():
            raise Refused([f"{target.url}: there is no such folder. Check AUDIT_SINKS or PLACE"])
        yield reader
