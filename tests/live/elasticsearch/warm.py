"""Run the server once and keep what Java learns of its classes: ``make servers``, after assemble.py.

A later start then takes about half the time.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from support import elastic_server


def main() -> None:
    """Write `elastic_server.CLASSES`."""
    with (
        tempfile.TemporaryDirectory() as folder,
        elastic_server.node(Path(folder) / "node", java=[f"-XX:AOTCacheOutput={elastic_server.CLASSES}"]),
    ):
        pass


if __name__ == "__main__":
    main()
