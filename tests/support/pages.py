"""The commands that a page of the documentation shows."""

from __future__ import annotations

import re
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def section(page: str, heading: str) -> str:
    """Return the text below a heading of a page in docs/, up to the next heading of its kind."""
    text = (DOCS / page).read_text()
    found = re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    if found is None:
        raise AssertionError(f"docs/{page} has no heading '{heading}'")
    return found[1]


def blocks(page: str, heading: str, language: str = "sh") -> list[str]:
    """Return the blocks of a language below a heading, in their order."""
    found = re.findall(r"^( *)```(\w*)\n(.*?)^ *```$", section(page, heading), re.MULTILINE | re.DOTALL)
    return [re.sub(rf"^{indent}", "", text, flags=re.MULTILINE) for indent, kind, text in found if kind == language]


def commands(page: str, heading: str) -> str:
    """Return all commands below a heading as one script, which stops at the first failure."""
    return "set -eu\n" + "".join(blocks(page, heading))
