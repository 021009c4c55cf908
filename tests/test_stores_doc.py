"""docs/stores.md: its options are those of the object stores, and its arithmetic is right."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from auditsplit import sinks
from auditsplit.sinks.options import Options, describe

DOC = Path(__file__).parents[1] / "docs" / "stores.md"


def documented(scheme: str) -> set[str]:
    """Return the options that the table has for a store."""
    rows = re.findall(r"^\| `(\w+)` \|.*?\| (all|`[a-z0-9`, ]+) \| ", DOC.read_text(), re.MULTILINE)
    return {name for name, stores in rows if stores == "all" or f"`{scheme}`" in stores}


@pytest.mark.parametrize("scheme", ["s3", "gs", "az"])
def test_the_options_are_the_declared_options(scheme: str) -> None:
    """The table names all options that only object stores have."""
    declared = {row.name for row in describe(sinks.module_of(scheme).Options)}

    assert documented(scheme) == declared.difference(Options.__struct_fields__)


def test_the_urls_of_the_first_lines_are_good() -> None:
    """Without a bucket behind them."""
    urls = re.findall(r"^AUDIT_SINKS='(.*)'$", DOC.read_text(), re.MULTILINE)

    names = [sinks.from_url(url).name for url in urls]

    assert names == ["s3://my-bucket/audit", "gs://my-bucket/audit", "az://my-container/audit"]


def test_the_puts_of_a_million_events_are_right() -> None:
    """Each cell is 1,000,000 / n * u, and no more than the events."""
    cell = r" ([\d,]+) \|"
    rows = re.findall(rf"^\| ([\d,]+)[^|]*\|{cell * 4}$", DOC.read_text(), re.MULTILINE)
    figures = [[int(cell.replace(",", "")) for cell in row] for row in rows]

    assert len(figures) == 3
    for events, *puts in figures:
        assert puts == [min(1_000_000, 1_000_000 * users // events) for users in (1, 4, 16, 64)]
