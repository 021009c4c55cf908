"""Produces every fault of the matrix and prints its table; ends with 1 where a fault led to something unexpected.

``PYTHONPATH=tests python -m faults.matrix [word]`` does the faults with that word in their names, or all.
"""

from __future__ import annotations

import os
import platform
import sys
import tempfile
import traceback
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

import psutil
from support import object_places, servers

from faults import clients, damage, processes, stores
from faults.sender import Row

FAULTS: Mapping[str, Callable[[Path, str], Row]] = {
    "store down": stores.down,
    "store slow, then silent": stores.slow,
    "store half-answering": stores.half_answering,
    "disk full": stores.disk_full,
    "disk read-only": stores.disk_read_only,
    "worker killed, again and again": processes.worker_killed,
    "SIGTERM during requests": processes.sigterm,
    "clock jumps back by an hour": processes.clock_back,
    "flipped bits in the journal": damage.bits_flipped,
    "each file of .auditsplit removed, and kills": damage.files_removed,
    "no room below TMPDIR": damage.tmpdir_full,
    "10,000 idle connections": clients.idle_connections,
    "2,000 heads of a byte a second": clients.slow_heads,
    "16 bodies of a byte a second, by known senders": clients.slow_bodies,
    "2,000 such bodies, by strangers": clients.strangers_bodies,
    "gzip bombs": clients.gzip_bombs,
    "100 MB bodies": clients.large_bodies,
    "malformed JSON": clients.malformed_json,
    "a million users": clients.million_users,
}
"""By name, what produces each fault in a folder and with an S3 server, and tells what came of it."""


def machine() -> str:
    """Return how large this machine is."""
    memory_gb, kernel = psutil.virtual_memory().total / 1e9, platform.release().partition("-")[0]
    return f"{os.cpu_count()} cores, {memory_gb:.0f} GB, Linux {kernel}, Python {platform.python_version()}"


def main() -> int:
    """Print the table; return how to exit."""
    word = sys.argv[1] if len(sys.argv) > 1 else ""
    print(f"{datetime.now(UTC):%Y-%m-%d}, {machine()}\n")
    print("| fault | the client sees | stored | lost |\n| --- | --- | --- | --- |", flush=True)
    failed = False
    with tempfile.TemporaryDirectory(prefix="auditsplit-seaweed-") as seaweed, servers.seaweed(Path(seaweed)) as s3:
        object_places.s3_client(s3).create_bucket(Bucket=servers.BUCKET)
        for name, fault in FAULTS.items():
            if word not in name:
                continue
            with tempfile.TemporaryDirectory(prefix="auditsplit-faults-") as folder:
                try:
                    row = fault(Path(folder), s3)
                except Exception:  # noqa: BLE001 - the other rows are wanted too
                    traceback.print_exc()
                    row, failed = Row("**unexpected, see above**", "?", "?"), True
            print(f"| {name} | {row.sees} | {row.stored} | {row.lost} |", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
