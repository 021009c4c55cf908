"""The process: glibc's malloc and Python's collector, set for batches of hundreds of events.

By itself glibc's malloc hands freed memory to the kernel at every chance, and takes it anew, page by page: 500 page
faults for a batch of 400 events, an eighth of all its CPU time. Other C libraries have no ``mallopt`` and are left
alone.
"""

from __future__ import annotations

import ctypes
import gc

MAPPED_BYTES = 4 * 1024 * 1024
"""A block of this size goes back to the kernel when it is freed. kube-apiserver's default bodies are smaller."""

KEPT_BYTES = 16 * 1024 * 1024
"""The most free memory that a process keeps at the end of its heap."""

COLLECTOR_THRESHOLD = 5_000
"""New objects before a collection: a batch is hundreds of objects, and none of them is in a cycle."""

# https://man7.org/linux/man-pages/man3/mallopt.3.html; the numbers are malloc.h's
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8


def tune() -> None:
    """Set up malloc and the collector, once all modules are loaded and before workers are forked.

    The loaded objects are frozen: collections skip them, and forked workers share their pages.
    """
    keep_freed()
    gc.freeze()
    gc.set_threshold(COLLECTOR_THRESHOLD)


def keep_freed() -> bool:
    """Return whether malloc accepted the settings, for this process and the processes that it forks.

    There is one heap for all threads, so that kept memory is kept once. The threads take turns at Python's lock anyway.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    settings = {_MMAP_THRESHOLD: MAPPED_BYTES, _TRIM_THRESHOLD: KEPT_BYTES, _ARENA_MAX: 1}
    return mallopt is not None and all(mallopt(name, value) for name, value in settings.items())
