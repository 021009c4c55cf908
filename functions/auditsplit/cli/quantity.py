"""Sizes and times as a person writes them: ``2kB``, ``100KiB``, ``30s``, ``5m``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import click

_NUMBER = re.compile(r"(\d{1,12}(?:\.\d{1,6})?) ?([a-zA-Z]*)", re.ASCII)
_SIZES = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}
_TIMES = {"": 1, "ms": 0.001, "s": 1, "m": 60, "h": 3600}


class Quantity(click.ParamType[float]):
    """A number with one of ``units``, at least ``least``; an option's value is in the unit that counts 1."""

    def __init__(self, name: str, units: Mapping[str, float], example: str, least: float) -> None:
        """Keep what a value is called and looks like."""
        self.name, self.units, self.example, self.least = name, units, example, least

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the bytes, whole ones, or seconds."""
        found = _NUMBER.fullmatch(str(value))
        unit = self.units.get(found[2].lower()) if found else None
        if not found or unit is None or float(found[1]) * unit < self.least:
            self.fail(f"{str(value)[:40]!r} is no {self.name}; write {self.example}", param, ctx)
        number = float(found[1]) * unit
        return round(number) if self.units is _SIZES else number


SIZE = Quantity("size", _SIZES, "bytes, 2kB or 100KiB", 1)
TIME = Quantity("time", _TIMES, "30s, 5m or 1h", 0.001)
TIME_OR_NONE = Quantity("time", _TIMES, "30s, 5m, or 0", 0)
