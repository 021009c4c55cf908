"""Tables as text: columns that line up."""

from __future__ import annotations

import re
from collections.abc import Sequence

_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_NUMBER = re.compile(r"[\d,.]+(?: [%\w/]+)?|-")
_MAX_CELL = 100


def text(rows: Sequence[Sequence[str]]) -> str:
    """Return ``rows`` as lines. The first row is the heading. Columns of numbers are aligned to the right.

    Control characters, which users can put into names, are shown as ``?``.
    """
    cells = [[_UNPRINTABLE.sub("?", cell)[:_MAX_CELL] for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    right = [all(_NUMBER.fullmatch(cell) for cell in column[1:] if cell) for column in zip(*cells, strict=True)]
    lines = []
    for row in cells:
        padded = [
            cell.rjust(width) if is_right else cell.ljust(width)
            for cell, width, is_right in zip(row, widths, right, strict=True)
        ]
        lines.append("  ".join(padded).rstrip() + "\n")
    return "".join(lines)
