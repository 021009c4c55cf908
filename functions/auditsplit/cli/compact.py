"""``auditsplit compact``: join the small objects of each place and hour."""

from __future__ import annotations

import os
import sys
from collections import Counter

import click

from auditsplit.archive.compact import Outcome
from auditsplit.archive.compaction import Limits, compact_sink, object_stores
from auditsplit.cli.support.contract import FINDINGS, example, output_option, print_json
from auditsplit.cli.support.environment import read_settings, refuse
from auditsplit.cli.support.quantity import SIZE, TIME
from auditsplit.errors import SettingsError, SinkError


@click.command(epilog=example("AUDIT_SINKS=s3://my-bucket/audit auditsplit compact --older-than 2h"))
@click.option("--older-than", type=TIME, default="2h", show_default=True, help="Only hours that ended so long ago.")
@click.option(
    "--max-bytes", type=SIZE, default="256MB", show_default=True, help="Leave an hour with more compressed bytes alone."
)
@click.option(
    "--at-once", type=click.IntRange(1, 64), default=4, show_default=True, help="How many hours are joined at once."
)
@output_option
def compact(older_than: float, max_bytes: int, at_once: int, *, as_json: bool) -> None:
    """Join the small objects of each place and hour in the object stores of AUDIT_SINKS.

    The credentials must be allowed to list, get, put and delete below the prefix. So they are others than those of the
    function, which may only put. The command can be killed at any time, and two can run at once. A bucket that locks
    objects (WORM) is left alone.

    Exits with 1 if an hour could not be joined. The other hours are joined all the same.
    """
    try:
        targets = object_stores(read_settings().sinks)
    except SettingsError as error:
        refuse(error.mistakes)
    limits = Limits(older_than, max_bytes, at_once)
    total: Counter[str] = Counter()
    for target in targets:
        try:
            counts = compact_sink(target, os.environ, limits, _say)
        except SinkError as error:
            raise click.ClickException(f"{target.url}: {error}") from error
        total += counts
        if not as_json:
            click.echo(f"{target.url}: {_report(counts)}")
    if as_json:
        print_json({name: total[name] for name in ("hours", "parts", "deleted", "problems", "locked")})
    sys.exit(FINDINGS if total["problems"] else 0)


def _say(outcome: Outcome) -> None:
    click.echo(f"error: {outcome.hour.place}, hour {outcome.hour.hour}: {outcome.problem}", err=True)


def _report(counts: Counter[str]) -> str:
    if counts["locked"]:
        return "left alone, because the bucket locks its objects"
    return f"{counts['hours']} places and hours became one object each, {counts['deleted']} objects were deleted"
