"""docs/sinks.md: its URLs are valid, and its arithmetic is right."""

from __future__ import annotations

import re
from pathlib import Path

from auditsplit import sinks

DOC = Path(__file__).parents[1] / "docs" / "sinks.md"


def test_the_urls_are_valid() -> None:
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
