"""Documents in which managed clouds give out audit logs, by Amazon's and Microsoft's documentation."""

from __future__ import annotations

import base64
import gzip
import json
from typing import Any

GROUP = "/aws/eks/prod/cluster"
STREAM = "kube-apiserver-audit-0123456789abcdef"


def data_message(*messages: str, group: str = GROUP, stream: str = STREAM) -> dict[str, Any]:
    """Return a document as CloudWatch Logs gives it to a subscription."""
    return {
        "messageType": "DATA_MESSAGE",
        "owner": "123456789012",
        "logGroup": group,
        "logStream": stream,
        "subscriptionFilters": ["audit"],
        "logEvents": [{"id": str(i), "timestamp": 1732600000000 + i, "message": m} for i, m in enumerate(messages)],
    }


def azure_record(log: str, category: str = "kube-audit") -> dict[str, Any]:
    """Return a record of AKS's diagnostic settings."""
    return {
        "operationName": "Microsoft.ContainerService/managedClusters/diagnosticLogs/Read",
        "category": category,
        "ccpNamespace": "0123456789abcdef",
        "resourceId": "/SUBSCRIPTIONS/0/RESOURCEGROUPS/RG/PROVIDERS/MICROSOFT.CONTAINERSERVICE/MANAGEDCLUSTERS/PROD",
        "properties": {"log": log, "stream": "stdout", "pod": "kube-apiserver-1"},
        "time": "2026-11-26T10:00:00.0000000Z",
    }


def zipped(document: object) -> str:
    """Return ``document`` as base64 of gzip."""
    return base64.b64encode(gzip.compress(json.dumps(document).encode())).decode()


def awslogs_event(document: object) -> dict[str, Any]:
    """Return the event with which CloudWatch Logs invokes a function."""
    return {"awslogs": {"data": zipped(document)}}
