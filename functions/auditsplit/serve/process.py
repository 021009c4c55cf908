"""glibc's malloc, told to keep what one request gives back for the next.

By itself it hands freed memory to the kernel at every chance, and takes it anew, page by page: 500 page faults for a
batch of 400 events, an eighth of all its CPU time. Other C libraries have no `mallopt`, and are left alone.
"""

from __future__ import annotations

import ctypes

MAPPED_BYTES = 4 * 1024 * 1024
"""From where on a block is the kernel's again once it is freed: larger than the bodies of kube-apiserver's defaults."""

KEPT_BYTES = 16 * 1024 * 1024
"""Of free memory that a process keeps at the most, at the end of its heap."""

# https://man7.org/linux/man-pages/man3/mallopt.3.html; the numbers are malloc.h's
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8


def keep_freed() -> bool:
    """Return whether malloc took the settings, for this process and those that it forks.

    One heap for all threads, so that what is kept is kept once; they take turns at Python's lock anyway.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    settings = {_MMAP_THRESHOLD: MAPPED_BYTES, _TRIM_THRESHOLD: KEPT_BYTES, _ARENA_MAX: 1}
    return mallopt is not None and all(mallopt(name, value) for name, value in settings.items())
