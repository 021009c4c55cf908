"""Trees: the files of audit logs below a folder."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from auditsplit.routing.template import RESERVED

_ROTATED = re.compile(r"~\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d\.\d{3}(?=[^/~]*\Z)")


def live_key(key: str) -> str:
    """Return the key that a file had before it was rotated. The key of a live file stays as it is."""
    return _ROTATED.sub("", key)


def log_files(folder: Path) -> Iterator[Path]:
    """Yield the files below ``folder`` in the order of their names. Hidden files and the sinks' own are left out."""
    for path in sorted(folder.rglob("*")):
        own = any(part.startswith(".") or part in RESERVED for part in path.relative_to(folder).parts)
        if path.is_file() and not own:
            yield path
