"""Read the figures that ``auditsplit policy try --output json`` prints, for the flags of a load."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from auditsplit.apiserver.flags.sizing import Sizing
from auditsplit.cli.support.contract import Refused, reason

_EVENT_BYTES = 2000


class Figures(msgspec.Struct, frozen=True, rename="camel"):
    """Events a second on average and at most, and the usual event's size. None where nothing tells."""

    rate: float | None = None
    peak: float | None = None
    event_bytes: int | None = None


def read(path: Path) -> Figures:
    """Return the figures in the file at ``path``. Exit with 2 if it has none."""
    try:
        figures = msgspec.json.decode(path.read_bytes(), type=Figures)
    except (OSError, msgspec.DecodeError) as error:
        raise Refused(
            [f"--from: {path}: {reason(error)}. Write a file with the output of 'policy try --output json'"]
        ) from error
    if figures.rate is None or figures.event_bytes is None:
        raise Refused([f"--from: {path} has no rate. Try the policy on a recording with events at different times"])
    return figures


def rates(
    figures: Figures, rate: float | None, peak: float | None, event_size: int | None, sizing: Sizing
) -> tuple[float, float, int]:
    """Return the rate, the peak and the event's size: those that are given, else those of ``figures``.

    Exit with 2 if there is no rate, or if the peak is lower.
    """
    rate = rate or figures.rate
    if rate is None:
        raise click.UsageError("write --rate, or --from with the figures of a recording")
    peak = peak or figures.peak or (2 * rate if sizing == "recommended" else rate)
    if peak < rate:
        raise click.BadParameter(f"must be at least the rate, {rate:g}, not {peak:g}", param_hint="--peak")
    return rate, peak, event_size or figures.event_bytes or _EVENT_BYTES
