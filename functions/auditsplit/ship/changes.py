"""Wait for changes in folders: by inotify where watchfiles is installed, else by looking again."""

from __future__ import annotations

import importlib.util
import logging
import threading
from collections.abc import Iterable
from pathlib import Path

_log = logging.getLogger(__name__)
_told: set[str] = set()

POLL_S = 1.0
"""How long to wait at most. A change is seen later than that only where the folder itself is new."""


def wait(folders: Iterable[Path], stop: threading.Event, timeout_s: float = POLL_S) -> None:
    """Return once something changed in ``folders``, ``stop`` is set, or ``timeout_s`` is over."""
    watched = [str(folder) for folder in folders]
    if not watched or not importlib.util.find_spec("watchfiles"):
        stop.wait(min(timeout_s, POLL_S / 4))
        return
    from watchfiles import watch  # noqa: PLC0415 - an extra

    changed = watch(
        *watched,
        watch_filter=None,
        debounce=50,
        step=20,
        stop_event=stop,
        rust_timeout=max(1, int(timeout_s * 1000)),
        yield_on_timeout=True,
        raise_interrupt=False,
        recursive=False,
    )
    try:
        next(changed, None)
    except (OSError, RuntimeError) as error:  # a folder is gone, or the machine has no more inotify instances
        reason = str(error)
        if reason not in _told:
            _told.add(reason)
            _log.warning("changes of files are polled, because inotify failed: %s", reason[:200])
        stop.wait(min(timeout_s, POLL_S / 4))
