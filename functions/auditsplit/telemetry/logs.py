"""Logs on standard error: sentences on a terminal, elsewhere one JSON object a line, as the platform reads it.

`Google's collectors <https://cloud.google.com/logging/docs/structured-logging>`_ read ``severity``, ``message`` and
``time``. `Lambda's filters <https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-log-level.html>`_
read ``level``, and count a line without it as INFO. On Lambda a batch's line is also in the `embedded metric format
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
"""The name in a record's ``extra`` of the fields that the line has beside the message."""

NAMESPACE = "auditsplit"
"""The namespace of the metrics in CloudWatch."""

HELP: Mapping[str, str] = {
    "time": "when the line was written, in UTC",
    "severity": "for Google: `INFO`. `WARNING` if the sender must act, or items were rejected. `ERROR` if a sink or "
    "auditsplit failed",
    "level": "the same, for Amazon",
    "logger": "the module that wrote the line",
    "message": "the outcome, in words",
    "status": "the HTTP status of the answer",
    "code": "the outcome as a [code](reference/answers.md#codes), which stays the same over versions",
    "peer": "the sender's address",
    "cluster": "the cluster, empty until the sender is known",
    "batch": "the BLAKE3 hash of the cluster and the body, the same for each retry of a batch",
    "events": "events in the batch",
    "users": "different users among them",
    "rejected": "malformed items, which are in `_rejected/`",
    "truncated": "events whose bodies kube-apiserver removed (annotation `audit.k8s.io/truncated`), and lines whose "
    "end a cloud cut off",
    "omitted": "events that `AUDIT_POLICY` dropped. They are not among `events`",
    "omittedBySink": "of each sink with a policy of its own, the events among `events` that this policy dropped",
    "tooLarge": "events that `AUDIT_TRUNCATE_MAX_EVENT_SIZE` dropped. They are not among `events`",
    "tooLargeBySink": "of each sink with a limit of its own, the events among `events` that this limit dropped",
    "undelivered": "of each sink with `required=0`, the events among `events` that it did not get",
    "skipped": "records of other logs, such as the scheduler's, in a cloud's envelope",
    "duplicates": "events of a batch that every sink had before: a retry",
    "bytesIn": "bytes of the body as sent",
    "bytesOut": "bytes that all sinks together were given",
    "delaySeconds": "from the time of the oldest event to its arrival, null if no event has a time",
    "phases": "seconds of each phase: `read` the body, `decode` it, `transform` the events, `write` to each sink",
}
"""The fields of a request's line, in their order, with their meaning for the docs. Links are relative to ``docs/``."""

_UNITS = {
    "events": "Count",
    "rejected": "Count",
    "truncated": "Count",
    "omitted": "Count",
    "tooLarge": "Count",
    "duplicates": "Count",
    "bytesIn": "Bytes",
    "bytesOut": "Bytes",
    "delaySeconds": "Seconds",
}
"""The units of the figures in every line of a batch."""

_MORE_UNITS = {
    "stored": "Count",
    "readSeconds": "Seconds",
    "decodeSeconds": "Seconds",
    "transformSeconds": "Seconds",
    "writeSeconds": "Seconds",
}
"""The units of the figures that only CloudWatch needs: a metric is one number at the line's root."""

UNITS: Mapping[str, str] = {**_UNITS, **_MORE_UNITS}
"""The units of all metrics in CloudWatch."""


class JsonLines(logging.Formatter):
    """Formats a record as a line. With ``embedded_metrics``, the line of a batch has its figures as metrics too."""

    def __init__(self, *, embedded_metrics: bool = False) -> None:
        """Choose the format."""
        super().__init__()
        self._embedded_metrics = embedded_metrics

    def format(self, record: logging.LogRecord) -> str:
        """Return the line. JSON escapes all that a sender can choose in it, so no part can look like another line."""
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
    """Return the events that this request stored, and the seconds by phase, all sinks together."""
    new = fields["status"] == HTTPStatus.OK and not fields["duplicates"]
    seconds = Counter[str]()
    for phase, took in fields["phases"].items():
        seconds[f"{phase.partition(' ')[0]}Seconds"] += took
    return {"stored": fields["events"] if new else 0, **seconds}


def _embedded(record: logging.LogRecord, line: Mapping[str, Any]) -> dict[str, Any]:
    metrics = [{"Name": name, "Unit": unit} for name, unit in UNITS.items() if line.get(name) is not None]
    directive = {"Namespace": NAMESPACE, "Dimensions": [["cluster"]], "Metrics": metrics}
    return {"Timestamp": int(record.created * 1000), "CloudWatchMetrics": [directive]}


class HumanLines(logging.Formatter):
    """Formats a record for a terminal: time, level and message, then status, code, cluster and sender."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line. Control characters are escaped, so no sender can move the cursor or forge a line."""
        fields: Mapping[str, Any] = getattr(record, FIELDS, {})
        about = " ".join(f"{name}={fields[name]}" for name in ("status", "code", "cluster", "peer") if fields.get(name))
        time = datetime.fromtimestamp(record.created, UTC).astimezone().strftime("%H:%M:%S")
        text = f"{time} {record.levelname:<7} {record.getMessage()}{f'  [{about}]' if about else ''}"
        line = "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def configure(package: str = "auditsplit") -> None:
    """Send the logs of ``package`` from INFO on to standard error. A second call does nothing."""
    log = logging.getLogger(package)
    if not log.handlers:
        handler = logging.StreamHandler(sys.stderr)
        lines = JsonLines(embedded_metrics="AWS_LAMBDA_FUNCTION_NAME" in os.environ)
        handler.setFormatter(HumanLines() if sys.stderr.isatty() else lines)
        log.addHandler(handler)
        log.setLevel(logging.INFO)
        log.propagate = False
