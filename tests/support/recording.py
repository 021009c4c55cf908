"""The recorded EventLists in ``tests/data``, and what the recording says of itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

DATA = Path(__file__).parents[1] / "data"


def manifest() -> dict[str, Any]:
    """Return the recording's own account: its files, each with the numbers of its events and of each user's."""
    document: dict[str, Any] = json.loads((DATA / "manifest.json").read_text())
    return document
