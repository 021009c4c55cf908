"""Progress: a line on a terminal that says how much was read. It gives way to results."""

from __future__ import annotations

import sys
import time

import click

_PAUSE_S = 0.2
_CLEAR = "\r\x1b[K"
_UNIT = 1000


class Progress:
    """The line. Without a terminal on standard error, nothing is shown."""

    def __init__(self) -> None:
        """Show nothing yet."""
        self._is_shown = False
        self._enabled = sys.stderr.isatty()
        self._next = time.monotonic() + _PAUSE_S

    def show(self, text: str) -> None:
        """Show ``text`` in place of what was shown, at most five times a second."""
        if self._enabled and time.monotonic() >= self._next:
            self._next = time.monotonic() + _PAUSE_S
            click.echo(f"{_CLEAR}{text}", nl=False, err=True)
            self._is_shown = True

    def clear(self) -> None:
        """Remove the line, before a result or a message is printed."""
        if self._is_shown:
            click.echo(_CLEAR, nl=False, err=True)
            self._is_shown = False


def size(size_bytes: int) -> str:
    """Return a size in words, such as ``1.2 GB``."""
    amount, units = float(size_bytes), iter(("bytes", "kB", "MB", "GB", "TB"))
    unit = next(units)
    while amount >= _UNIT and unit != "TB":
        amount, unit = amount / _UNIT, next(units)
    return f"{amount:.0f} {unit}" if unit == "bytes" else f"{amount:.1f} {unit}"
