"""The files of prometheus_client's multiprocess mode, with their space allocated before they are mapped.

The client makes its files longer without allocating anything, and writes to them through a mapping. On a full disk such
a write ends the process with SIGBUS. Here the disk's space is allocated first, so a full disk is an ``OSError``.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from pathlib import Path

_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
_is_ours = _FOLDER not in os.environ
if _is_ours:  # the client looks at it when it is imported
    os.environ[_FOLDER] = tempfile.mkdtemp(prefix="auditsplit-metrics-")

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest, mmap_dict, values  # noqa: E402
from prometheus_client.multiprocess import MultiProcessCollector  # noqa: E402

CONTENT_TYPE = CONTENT_TYPE_LATEST
_FIRST_BYTES = 64 * 1024
_ENTRY_BYTES = 4 + 8 + 16  # of a value beside its key: the key's length, at most 8 to align it, the value and its time
_allocate = getattr(os, "posix_fallocate", None)  # macOS has none


class AllocatedDict(mmap_dict.MmapedDict):
    """A file of values that a full disk does not turn into a trap."""

    def __init__(self, filename: str, read_mode: bool = False) -> None:  # noqa: FBT001, FBT002 - the client's signature
        """Make the file, allocated, or open the one that exists."""
        if not read_mode and not Path(filename).exists():
            _make(Path(filename))
        super().__init__(filename, read_mode)  # type: ignore[no-untyped-call]

    def _init_value(self, key: str) -> None:
        """Add a value. The client then doubles the file until the value fits."""
        capacity = self._capacity
        while self._used + _ENTRY_BYTES + len(key.encode()) > capacity:
            capacity *= 2
        if _allocate and capacity > self._capacity:
            _allocate(self._f.fileno(), 0, capacity)
        super()._init_value(key)  # type: ignore[no-untyped-call]


values.MmapedDict = AllocatedDict  # type: ignore[attr-defined]  # before any metric has a value


def text() -> bytes:
    """Return all metrics of all processes in Prometheus' text format."""
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry)


def forget() -> None:
    """Remove the folder that this server made. What is counted afterwards is lost. A deployer's own folder stays."""
    if _is_ours:
        shutil.rmtree(os.environ[_FOLDER], ignore_errors=True)


def _make(path: Path) -> None:
    """Make an allocated file of zeros, whole or not at all: others read the folder meanwhile."""
    new = path.with_suffix(".new")
    try:
        with new.open("wb") as file:
            if _allocate:
                _allocate(file.fileno(), 0, _FIRST_BYTES)
            file.truncate(_FIRST_BYTES)
        new.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            new.unlink()
        raise
