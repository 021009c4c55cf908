"""The index template: mappings that refuse as little as Elasticsearch can, and how long documents are kept.

``dynamic: false`` everywhere: what is not named here is stored, given back and never a new field, so that no event can
make the mappings explode. Every body is one ``flattened`` field, in which keys are data. Only types that each
distribution of Elasticsearch 9 has are used. An event that is refused all the same goes in with less of it in fields:
see `auditsplit.sinks.elasticsearch.document`.
"""

from __future__ import annotations

from typing import Any

NAME = "auditsplit"
"""What the component template is called, and how the names of index templates begin."""

PRIORITY = 500
"""Above Elastic's own ``logs`` (100) and those that Fleet installs (200), which would else take ``logs-*-*``."""

_MAX_TERM_CHARACTERS = 8191
"""Lucene's longest term is 32,766 bytes, and a character takes four at most; longer values are stored, not searched."""

_WORD: dict[str, Any] = {"type": "keyword", "ignore_above": 1024}
_LONG: dict[str, Any] = {"type": "keyword", "ignore_above": _MAX_TERM_CHARACTERS}
_TEXT: dict[str, Any] = {"type": "text", "norms": False}
_STORED: dict[str, Any] = {"type": "keyword", "index": False, "doc_values": False}
_DATE: dict[str, Any] = {"type": "date", "ignore_malformed": True}
_IP: dict[str, Any] = {"type": "ip", "ignore_malformed": True}
_CODE: dict[str, Any] = {"type": "integer", "ignore_malformed": True}
_KEYS_AND_VALUES: dict[str, Any] = {"type": "flattened", "ignore_above": 1024, "depth_limit": 250}

_ANNOTATIONS = (
    "apiserver_latency_k8s_io/total",
    "authentication_k8s_io/legacy-token",
    "authentication_k8s_io/stale-token",
    "authentication_kubernetes_io/credential-id",
    "authentication_kubernetes_io/issued-credential-id",
    "authorization_k8s_io/decision",
    "authorization_k8s_io/reason",
    "k8s_io/deprecated",
    "k8s_io/removed-release",
    "mutation_webhook_admission_k8s_io/round_0_index_0",
    "patch_webhook_admission_k8s_io/round_0_index_0",
    "pod-security_kubernetes_io/audit-violations",
    "pod-security_kubernetes_io/enforce-policy",
    "pod-security_kubernetes_io/exempt",
    "validation_policy_admission_k8s_io/validation_failure",
)
"""The audit annotations of kube-apiserver itself, dots as ``_``: searchable; those of webhooks are only stored."""


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {"dynamic": False, "properties": properties}


def _words(*names: str) -> dict[str, Any]:
    return dict.fromkeys(names, _WORD)


_USER = _object({**_words("username", "uid", "groups"), "extra": _KEYS_AND_VALUES})

_AUDIT = _object(
    {
        **_words("apiVersion", "kind", "level", "auditID", "stage", "verb"),
        "requestURI": _LONG,
        "user": _USER,
        "impersonatedUser": _USER,
        "authenticationMetadata": _object(_words("impersonationConstraint")),
        "sourceIPs": _WORD,
        "userAgent": _LONG,
        "objectRef": _object(
            _words("resource", "namespace", "name", "uid", "apiGroup", "apiVersion", "resourceVersion", "subresource")
        ),
        "responseStatus": _object(
            {**_words("status", "reason"), "message": _TEXT, "code": _CODE, "details": _KEYS_AND_VALUES}
        ),
        "requestObject": _KEYS_AND_VALUES,
        "responseObject": _KEYS_AND_VALUES,
        "requestReceivedTimestamp": _DATE,
        "stageTimestamp": _DATE,
        "annotations": _object(dict.fromkeys(_ANNOTATIONS, _LONG)),
    }
)

MAPPINGS = _object(
    {
        "@timestamp": {"type": "date"},
        "ecs": _object(_words("version")),
        "data_stream": _object(_words("type", "dataset", "namespace")),
        "event": _object(
            {
                **_words("action", "dataset", "id", "kind", "module", "outcome"),
                "ingested": {"type": "date"},
                "original": _STORED,
            }
        ),
        "orchestrator": _object(
            {
                **_words("type", "namespace", "api_version"),
                "cluster": _object(_words("name")),
                "resource": _object(_words("name", "type")),
            }
        ),
        "user": _object({**_words("name", "id"), "effective": _object(_words("name"))}),
        "user_agent": _object({"original": {**_LONG, "fields": {"text": _TEXT}}}),
        "source": _object({"ip": _IP}),
        "error": _object({"message": _TEXT}),
        "kubernetes": _object({"audit": _AUDIT}),
        "auditsplit": _object({"left_out": _WORD, "original_base64": _STORED}),
    }
)
"""The mappings of every data stream, ``_rejected`` too."""

SETTINGS: dict[str, Any] = {
    "number_of_shards": 1,
    "auto_expand_replicas": "0-1",
    "codec": "best_compression",
    "mapping": {"total_fields": {"limit": 1000}},
}


def component(retention: str | None = None) -> dict[str, Any]:
    """Return the component template; ``retention`` is how long documents are kept, as in ``30d``, None for ever."""
    lifecycle: dict[str, Any] = {"enabled": True}
    if retention:
        lifecycle["data_retention"] = retention
    return {
        "template": {"settings": {"index": SETTINGS}, "mappings": MAPPINGS, "lifecycle": lifecycle},
        "_meta": {"managed_by": NAME},
    }


def index_template(patterns: list[str]) -> dict[str, Any]:
    """Return the index template that makes data streams of the names that match ``patterns``."""
    return {
        "index_patterns": patterns,
        "data_stream": {},
        "template": {"data_stream_options": {"failure_store": {"enabled": False}}},  # the store wants to hear of it
        "composed_of": [NAME],
        "priority": PRIORITY,
        "_meta": {"managed_by": NAME},
    }
