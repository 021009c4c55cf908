"""Option types for sizes and times with a unit: ``2kB``, ``100KiB``, ``30s``, ``5m``."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import click

_NUMBER = re.compile(r"(\d{1,12}(?:\.\d{1,6})?) ?([a-zA-Z]*)", re.ASCII)
_SIZES = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}
_TIMES = {"": 1, "ms": 0.001, "s": 1, "m": 60, "h": 3600}


class Quantity(click.ParamType[float]):
    """A number with a unit. The option's value is in bytes or seconds."""

    def __init__(self, name: str, units: Mapping[str, float], example: str, least: float) -> None:
        """Keep the type's name and its ``units`` with their factors.

        Args:
            name: The noun in messages.
            units: Each unit's factor, by its name in lower case.
            example: Valid values, for messages.
            least: The smallest valid value, in bytes or seconds.
        """
        self.name, self.units, self.example, self.least = name, units, example, least

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the value in whole bytes, or in seconds."""
        match = _NUMBER.fullmatch(str(value))
        unit = self.units.get(match[2].lower()) if match else None
        if not match or unit is None or float(match[1]) * unit < self.least:
            self.fail(f"{str(value)[:40]!r} is not a valid {self.name}. Write {self.example}", param, ctx)
        number = float(match[1]) * unit
        return round(number) if self.units is _SIZES else number


class FiniteRange(click.FloatRange):
    """A number within a range. ``nan`` is in none, though no comparison says so."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the number."""
        number = float(super().convert(value, param, ctx))
        if math.isnan(number):
            self.fail(f"{str(value)[:40]!r} is not a valid number. Write one from {self.min} to {self.max}", param, ctx)
        return number


SIZE = Quantity("size", _SIZES, "bytes, 2kB or 100KiB", 1)
TIME = Quantity("time", _TIMES, "30s, 5m or 1h", 0.001)
TIME_OR_NONE = Quantity("time", _TIMES, "30s, 5m, or 0", 0)
EVENT_SIZE = Quantity("size of an event", _SIZES, "at least 200B, with a unit, as in 2kB", 200)
