"""docs/proofs/faults.md has a row for each fault of ``make faults``, and says when and on what machine it ran."""

from __future__ import annotations

import re
from pathlib import Path

from faults.matrix import FAULTS

PAGE = (Path(__file__).parents[1] / "docs" / "proofs" / "faults.md").read_text()
_CELLS = [line.strip("| ").split(" | ") for line in PAGE.splitlines() if line.startswith("| ")]
ROWS = _CELLS[2:]  # below the heading and its rule


def test_the_rows_are_those_of_the_command() -> None:
    """All of them, in its order."""
    assert [row[0] for row in ROWS] == list(FAULTS)


def test_nothing_is_lost() -> None:
    """No row is committed in which something was."""
    assert {row[-1] for row in ROWS} == {"nothing"}
    assert all(len(row) == 4 and row[2].startswith("all ") for row in ROWS)


def test_the_run_is_dated() -> None:
    """With the machine's size."""
    assert re.search(r"^\d{4}-\d\d-\d\d, \d+ cores, \d+ GB, ", PAGE, re.MULTILINE)
