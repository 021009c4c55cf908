"""Trees: the files of audit logs below a folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from auditsplit.routing.template import RESERVED


def log_files(folder: Path) -> Iterator[Path]:
    """Yield the files below ``folder`` in the order of their names. Hidden files and the sinks' own are left out."""
    for path in sorted(folder.rglob("*")):
        own = any(part.startswith(".") or part in RESERVED for part in path.relative_to(folder).parts)
        if path.is_file() and not own:
            yield path
