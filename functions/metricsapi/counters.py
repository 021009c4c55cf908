"""The metrics of this function for Prometheus, from all worker processes together."""

from __future__ import annotations

from collections import Counter
from http import HTTPStatus

# This line is before prometheus_client's: the client looks for the folder of `metric_files` when it is imported.
from auditsplit.telemetry import metric_files  # isort: split

from prometheus_client import Counter as Count
from prometheus_client import Histogram

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15)
_requests = Count("metricsapi_requests", "Answers by resource, verb and status.", ["resource", "verb", "status"])
_seconds = Histogram("metricsapi_request_seconds", "Seconds of an answer.", ["resource", "verb"], buckets=_SECONDS)
_kubelets = Count("metricsapi_kubelet_requests", "Requests to kubelets by outcome.", ["outcome"])
_kubelet_seconds = Histogram("metricsapi_kubelet_seconds", "Seconds of a request to a kubelet.", buckets=_SECONDS)
_left_out = Count("metricsapi_left_out", "Nodes and pods without valid figures in kubelets' answers.", ["reason"])
"""The metrics. No label is a name of a node, pod or user."""


class Counters:
    """Counts requests and kubelets' answers."""

    content_type = metric_files.CONTENT_TYPE

    def request(self, resource: str, verb: str, status: int, seconds: float) -> None:
        """Count an answered request. ``resource`` and ``verb`` are of a few words."""
        _requests.labels(resource, verb, str(HTTPStatus(status).value)).inc()
        _seconds.labels(resource, verb).observe(seconds)

    def kubelet(self, outcome: str, seconds: float, left_out: Counter[str]) -> None:
        """Count a request to a kubelet."""
        _kubelets.labels(outcome).inc()
        _kubelet_seconds.observe(seconds)
        for reason, count in left_out.items():
            _left_out.labels(reason).inc(count)

    def text(self) -> bytes:
        """Return the metrics of all processes in Prometheus' text format."""
        return metric_files.text()
