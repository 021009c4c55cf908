"""Logs: one JSON object a line on standard error, in the format that the platform reads.

``severity``, ``message`` and ``time`` are what `Google's collectors
<https://cloud.google.com/logging/docs/structured-logging>`_ look for; ``level`` is what `Lambda's filters
<https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-log-level.html>`_ go by, for which a line
without it is INFO. On Lambda the line of a batch is also in the `embedded metric format
<https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>`_,
so that CloudWatch makes metrics of it without another call.
"""

from __future__ import annotations

import logging
import os
import sys
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

import orjson

FIELDS = "fields"
"""The name under which a record's ``extra`` has what goes into the line beside the message."""

NAMESPACE = "auditsplit"
"""Of the metrics in CloudWatch."""

_UNITS = {
    "events": "Count",
    "rejected": "Count",
    "truncated": "Count",
    "again": "Count",
    "bytesIn": "Bytes",
    "bytesOut": "Bytes",
    "delaySeconds": "Seconds",
}
"""Of the figures that a line has."""

_MORE_UNITS = {"stored": "Count", "readSeconds": "Seconds", "splitSeconds": "Seconds", "storeSeconds": "Seconds"}
"""Of those that only CloudWatch needs: a metric is one number at the line's root."""


class JsonLines(logging.Formatter):
    """Formats a record as a line; with ``embedded_metrics``, one that has the figures of a batch as a metric too."""

    def __init__(self, *, embedded_metrics: bool = False) -> None:
        """Choose the format."""
        super().__init__()
        self._embedded_metrics = embedded_metrics

    def format(self, record: logging.LogRecord) -> str:
        """Return the line; whatever a sender could choose in it is escaped by JSON, so it can't look like another."""
        fields: Mapping[str, Any] = getattr(record, FIELDS, {})
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "severity": record.levelname,
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **fields,
        }
        if self._embedded_metrics and fields.get("batch"):
            line |= _more(fields)
            line["_aws"] = _embedded(record, line)
        if record.exc_info:
            line["stack"] = self.formatException(record.exc_info)
        return orjson.dumps(line).decode()


def _more(fields: Mapping[str, Any]) -> dict[str, float]:
    """Return the events that were stored just now, and the seconds by phase, all stores together."""
    new = fields["status"] == HTTPStatus.OK and not fields["again"]
    seconds = Counter[str]()
    for phase, took in fields["phases"].items():
        seconds[f"{phase.partition(' ')[0]}Seconds"] += took
    return {"stored": fields["events"] if new else 0, **seconds}


def _embedded(record: logging.LogRecord, line: Mapping[str, Any]) -> dict[str, Any]:
    units = _UNITS | _MORE_UNITS
    metrics = [{"Name": name, "Unit": unit} for name, unit in units.items() if line.get(name) is not None]
    directive = {"Namespace": NAMESPACE, "Dimensions": [["cluster"]], "Metrics": metrics}
    return {"Timestamp": int(record.created * 1000), "CloudWatchMetrics": [directive]}


def configure() -> None:
    """Send the package's logs from INFO on to standard error; again does nothing."""
    log = logging.getLogger("auditsplit")
    if not log.handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(JsonLines(embedded_metrics="AWS_LAMBDA_FUNCTION_NAME" in os.environ))
        log.addHandler(handler)
        log.setLevel(logging.INFO)
        log.propagate = False
