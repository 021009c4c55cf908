"""Read the figures that ``auditsplit policy try --output json`` prints, for the flags of a load."""

from __future__ import annotations

from pathlib import Path

import msgspec

from auditsplit.cli.support.contract import Refused, reason


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
