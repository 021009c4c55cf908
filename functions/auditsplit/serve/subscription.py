"""CloudWatch Logs' subscriptions on AWS Lambda: the audit logs of EKS clusters.

Lambda invokes the function without waiting for an answer. An error of the invocation makes Lambda try again, and in
the end put the event into the dead-letter queue.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from auditsplit.deadline import Deadline
from auditsplit.decode.batch import Form
from auditsplit.decode.cloud_logs import cloudwatch
from auditsplit.errors import AuditsplitError, NotSubscribed, Undecodable
from auditsplit.ingest import Ingest
from auditsplit.settings import Settings
from auditsplit.telemetry.figures import Figures
from auditsplit.telemetry.logs import FIELDS

_log = logging.getLogger(__name__)


def is_subscription(event: object) -> bool:
    """Return whether CloudWatch Logs sent the ``event`` of Lambda."""
    return isinstance(event, Mapping) and isinstance(event.get("awslogs"), Mapping)


def receive(event: Mapping[str, Any], settings: Settings, ingest: Ingest, deadline: Deadline) -> dict[str, Any]:
    """Return the receipt of the events in ``event`` once every sink holds them.

    Malformed lines are in ``_rejected/`` then, also if all of them are malformed.

    Raises:
        AuditsplitError: They are not stored. Lambda must try again.
    """
    figures = Figures()
    try:
        receipt = _receive(str(event["awslogs"].get("data", "")), settings, ingest, deadline, figures)
    except AuditsplitError as error:
        _log.error("%s", error, extra={FIELDS: {"code": error.code, "status": 503, **figures.fields()}})
        raise
    rejected = f", {figures.rejected} rejected" if figures.rejected else ""
    level = logging.WARNING if rejected else logging.INFO
    fields = {"code": "rejected" if rejected else "ok", "status": 200, **figures.fields()}
    _log.log(level, "%d events stored%s", figures.events, rejected, extra={FIELDS: fields})
    return receipt


def _receive(data: str, settings: Settings, ingest: Ingest, deadline: Deadline, figures: Figures) -> dict[str, Any]:
    with figures.phase("read"):
        subscription = cloudwatch.awslogs(data, settings.max_body_bytes)
    if subscription.is_control:
        return {"events": 0}
    cluster = settings.log_groups.get(subscription.log_group)
    if cluster is None:
        raise NotSubscribed(
            f"the log group {subscription.log_group[:80]!r} is not one of AUDIT_LOG_GROUPS. Add it there, or remove "
            "its subscription"
        )
    figures.cluster, figures.bytes_in = cluster, len(data)
    records = subscription.records()
    figures.unwrapped(records.skipped, records.cut)
    if not records.lines:
        return {"cluster": cluster, "events": 0}
    try:
        return ingest.receive(records.text, cluster, deadline, figures, Form(lines=True)).to_dict()
    except Undecodable:  # no line is an event, and all are in _rejected/
        figures.rejected = len(records.lines)
        return {"cluster": cluster, "events": 0}
