"""benchmarks/cost.py, from which docs/cost.md has its tables: it takes the measured numbers, and its sums are right."""

from __future__ import annotations

import math
import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "benchmarks" / "cost.py"
TAKEN = runpy.run_path(str(SCRIPT))


def test_the_measured_numbers_are_the_benchmarks() -> None:
    """A new measurement must be copied to benchmarks/cost.py."""
    measured = (ROOT / "benchmarks" / "README.md").read_text()
    rows = re.findall(r"^\| \*\*auditsplit\*\* \| 1 \| [\d,]+ \| \*\*([\d.]+)\*\* \|", measured, re.MULTILINE)

    assert max(map(float, rows)) == TAKEN["CPU_S_PER_MILLION"]
    lines = measured.splitlines()
    assert any("boto3" in line and f"{TAKEN['CPU_S_PER_PUT'] * 1000} ms" in line for line in lines)
    assert any("batch" in line and f"{TAKEN['CPU_S_PER_BATCH'] * 1000} CPU ms" in line for line in lines)


@pytest.mark.parametrize("name", ["on_lambda", "on_run"])
def test_more_costs_more(name: str) -> None:
    """More events and more users cost more. The total of a row is the sum of its parts."""
    load, sent = TAKEN["Load"], TAKEN[name]

    assert sent(load(10, 400, 5)) < sent(load(100, 400, 5)) < sent(load(100, 400, 50)) < sent(load(9000, 400, 50))
    *parts, total = TAKEN["costs"](load(100, 400, 5), 1.0, TAKEN["RUN"])
    assert sum(parts) == total


def test_what_pays_compaction_back_is_right() -> None:
    """Each row follows from the first cell, with puts at the price of 12.5 gets."""
    page = (ROOT / "docs" / "cost.md").read_text().partition("## Compaction")[2].partition("## Prices")[0]
    rows = re.findall(r"^\| (\d+) \| (\d+) \| (\d+) \| (\d+) \|$", page, re.MULTILINE)

    assert rows
    for objects, gets, saved, queries in (map(int, row) for row in rows):
        assert gets == objects + 2 + 2 * 12.5
        assert saved == objects - 1
        assert queries == math.ceil(gets / saved)
    assert "which is 120 an hour" in page
    assert f"{24 * 120:,} events a day" in page
