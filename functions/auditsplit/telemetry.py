"""Logs: one JSON object a line on standard error, with ``severity`` for Google's collectors, ``level`` for Amazon's."""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime

import orjson


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "severity": record.levelname,
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["stack"] = self.formatException(record.exc_info)
        return orjson.dumps(line).decode()


def configure() -> None:
    """Send the package's logs from INFO on to standard error; again does nothing."""
    log = logging.getLogger("auditsplit")
    if not log.handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(_JsonLines())
        log.addHandler(handler)
        log.setLevel(logging.INFO)
        log.propagate = False
