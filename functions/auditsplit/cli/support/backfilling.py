"""``auditsplit split --only-missing``: write what the sinks in the settings do not hold."""

from __future__ import annotations

import os
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple, cast

import click
import msgspec

from auditsplit import bootstrap
from auditsplit.archive.backfill import Backfill, Window
from auditsplit.archive.named import File
from auditsplit.archive.readers import open_reader
from auditsplit.cli.support.contract import Refused, print_json, reason
from auditsplit.cli.support.environment import refuse
from auditsplit.cli.support.recordings import decoded
from auditsplit.deadline import REQUEST_S, Deadline
from auditsplit.errors import AuditsplitError, SettingsError
from auditsplit.settings import Settings
from auditsplit.sinks.lines import Format

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Chosen(NamedTuple):
    """The options of a backfill."""

    since: datetime | None
    until: datetime | None
    settle: int
    """For how long after an event the webhook may still deliver it, in seconds."""

    @property
    def window(self) -> Window:
        """The times of the events that are written."""
        settled = datetime.now(UTC) - timedelta(seconds=self.settle)
        return Window(self.since or _EPOCH, min(self.until or settled, settled))


def backfill(files: Iterable[Path], cluster: str, settings: Settings, chosen: Chosen, *, as_json: bool) -> bool:
    """Write what is missing, and print the counts of each sink. Return whether all files and sinks could be read."""
    window = chosen.window
    backfills = [each for target in settings.sinks for each in _opened(settings, target, window)]
    whole = True
    for file in files:
        try:
            _take(file, cluster, backfills, settings.max_body_bytes)
        except (AuditsplitError, OSError) as error:
            whole = False
            click.echo(f"error: {file}: {reason(error)}. Run the backfill again. It writes what is missing", err=True)
    _report(backfills, window, as_json=as_json)
    return whole and not any(each.counts.malformed for each in backfills)


def _opened(settings: Settings, target: object, window: Window) -> Iterable[Backfill]:
    alone = msgspec.structs.replace(settings, sinks=(target,))
    try:
        [destination] = bootstrap.destinations(alone, os.environ)
        reader = open_reader(alone.sinks[0], os.environ)
    except SettingsError as error:
        refuse(error.mistakes)
    except ValueError as error:
        raise Refused([f"--only-missing: {error}"]) from error
    destination.sink.recover()
    line_format = cast("Format", getattr(alone.sinks[0].options, "format", "log"))
    chains = bootstrap.shared_transforms(settings), destination.transforms
    yield Backfill(destination.sink, reader, line_format, chains, window)


def _take(file: Path, cluster: str, backfills: list[Backfill], max_bytes: int) -> None:
    for piece, batch in decoded(File(file), cluster, max_bytes):
        for each in backfills:
            if batch is None:
                each.counts.malformed += 1
            else:
                each.take(batch, piece.text, Deadline.after(REQUEST_S), document=piece.document)


def _report(backfills: list[Backfill], window: Window, *, as_json: bool) -> None:
    times = {"since": f"{window.since:%FT%TZ}", "until": f"{window.until:%FT%TZ}"}
    if as_json:
        print_json({**times, "sinks": {each.sink.name: msgspec.to_builtins(each.counts) for each in backfills}})
        return
    for each in backfills:
        counts = each.counts
        click.echo(
            f"{each.sink.name}: {counts.present} events were there, {counts.missing} were missing, "
            f"{counts.written} written, {counts.outside} are not from {times['since']} until {times['until']}"
            + (f", {counts.dropped} dropped by policy or size" if counts.dropped else "")
            + (f", {counts.malformed} items are not events" if counts.malformed else ""),
            err=True,
        )
