"""Audit flags that kube-apiserver refuses when it starts, with the name of their fault."""

from __future__ import annotations

REFUSED = (
    ("--audit-webhook-batch-max-wait=5", "no-unit"),
    ("--audit-webhook-initial-backoff=10", "no-unit"),
    ("--audit-log-batch-max-wait=1d", "no-unit"),
    ("--audit-webhook-batch-max-size=four", "wrong-type"),
    ("--audit-webhook-batch-throttle-qps=many", "wrong-type"),
    ("--audit-webhook-truncate-enabled=yes", "wrong-type"),
    ("--audit-webhok-mode=batch", "unknown-flag"),
    ("--audit-webhook-max-batch-size=5", "unknown-flag"),
    ("--audit-webhook-mode=fast", "mode"),
    ("--audit-webhook-version=audit.k8s.io/v1beta1", "version"),
    ("--audit-webhook-batch-max-size=0", "not-positive"),
    ("--audit-webhook-batch-buffer-size=-1", "not-positive"),
    ("--audit-webhook-batch-throttle-qps=0", "not-positive"),
    ("--audit-webhook-batch-throttle-burst=0", "not-positive"),
    ("--audit-webhook-truncate-max-event-size=20000000", "truncate-size"),
    ("--audit-webhook-truncate-max-event-size=0", "truncate-size"),
)
