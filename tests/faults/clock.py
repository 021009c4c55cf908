"""The function with a clock that is wrong by as many seconds as the file ``clock`` in the working folder says."""

from __future__ import annotations

import datetime as dt
import sys
import time
from datetime import timedelta, tzinfo
from pathlib import Path

_ROOT = Path(__file__).parents[2]
_real_time = time.time


def _wrong_by_s() -> float:
    return float(Path("clock").read_text())


class _WrongDatetime(dt.datetime):
    @classmethod
    def now(cls, tz: tzinfo | None = None) -> _WrongDatetime:
        return super().now(tz) + timedelta(seconds=_wrong_by_s())


time.time = lambda: _real_time() + _wrong_by_s()
dt.datetime = _WrongDatetime  # type: ignore[misc]
sys.path.insert(0, str(_ROOT / "functions"))

from main import ingest  # noqa: E402, F401 - with that clock
