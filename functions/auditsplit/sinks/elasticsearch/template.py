"""The index template: mappings that refuse as little as Elasticsearch can, and the retention.

``dynamic: false`` everywhere: a member without a mapping is stored and returned, and never becomes a new field, so no
event can make the mappings explode. Every body is one ``flattened`` field, in which keys are data. Each distribution of
Elasticsearch 9 has all the types used here. An event that is refused all the same is stored with less of it in fields,
see `auditsplit.sinks.elasticsearch.document`.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any

from elasticsearch import ApiError, Elasticsearch

from auditsplit.policy.parts import MARK
from auditsplit.sinks.elasticsearch.answers import ROOTS, explain
from auditsplit.sinks.elasticsearch.cleaning import MAX_DEPTH, MAX_TERM_CHARACTERS
from auditsplit.sinks.elasticsearch.streams import Streams
from auditsplit.sinks.failures import Failure, SinkFailure

NAME = "auditsplit"
"""The name of the component template, and the beginning of the names of index templates."""

PRIORITY = 500
"""Above Elastic's own ``logs`` (100) and those that Fleet installs (200), which would else apply to ``logs-*-*``.

No data stream of an integration gets auditsplit's mappings by that. `Streams` refuses a target whose pattern covers
another's namespace, and `install` looks at the data streams that exist.

The length of a template's prefix is added. Elasticsearch refuses two templates of one priority whose patterns overlap,
such as that of a data stream for every cluster and that of a data stream for one cluster. The more exact should count.
"""

_WORD: dict[str, Any] = {"type": "keyword", "ignore_above": MAX_TERM_CHARACTERS}
_TEXT: dict[str, Any] = {"type": "text", "norms": False}
_TEXT_AND_WORD: dict[str, Any] = {**_TEXT, "fields": {"keyword": _WORD}}
"""Text as in Elastic's integration, so that a search over both has one type. EQL and aggregations use the keyword."""
_STORED: dict[str, Any] = {"type": "keyword", "index": False, "doc_values": False}
_DATE: dict[str, Any] = {"type": "date", "ignore_malformed": True}
_IP: dict[str, Any] = {"type": "ip", "ignore_malformed": True}
_CODE: dict[str, Any] = {"type": "integer", "ignore_malformed": True}
_KEYS_AND_VALUES: dict[str, Any] = {"type": "flattened", "ignore_above": 1024, "depth_limit": MAX_DEPTH}
POD_NAME = "authentication.kubernetes.io/pod-name"
"""The key of ``user.extra`` by which detection rules join events."""

_EXTRA: dict[str, Any] = {**_KEYS_AND_VALUES, "properties": {POD_NAME: {"type": "keyword", "ignore_above": 1024}}}
"""EQL, which joins events by the pod's name, does not read the keys of a ``flattened`` field that have no type.

Elasticsearch has such types since 9.4. `install` puts the mappings without them where the server does not know them.
"""

_ANNOTATIONS = (
    MARK,
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
"""The audit annotations of kube-apiserver and of auditsplit, dots as ``_``. Those of webhooks are only stored."""


_NO_TYPED_KEYS = "[properties]"  # in the reason of a server that does not know the parameter


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {"dynamic": False, "properties": properties}


def _words(*names: str) -> dict[str, Any]:
    return dict.fromkeys(names, _WORD)


_USER = _object({**_words("username", "uid"), "groups": _TEXT_AND_WORD, "extra": _EXTRA})

_AUDIT = _object(
    {
        **_words("apiVersion", "kind", "level", "auditID", "stage", "verb"),
        "requestURI": _WORD,
        "user": _USER,
        "impersonatedUser": _USER,
        "authenticationMetadata": _object(_words("impersonationConstraint")),
        "sourceIPs": _TEXT_AND_WORD,
        "userAgent": _WORD,
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
        "annotations": _object({**_words(*_ANNOTATIONS), "authorization_k8s_io/reason": _TEXT_AND_WORD}),
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
        "user_agent": _object({"original": {**_WORD, "fields": {"text": _TEXT}}}),
        "source": _object({"ip": _IP}),
        "client": _object({"ip": _IP}),
        "error": _object({"message": _TEXT}),
        "kubernetes": _object({"audit": _AUDIT}),
        "auditsplit": _object({"left_out": _WORD, "original_base64": _STORED}),
    }
)
"""The mappings of every data stream, including ``_rejected``."""

SETTINGS: dict[str, Any] = {
    "number_of_shards": 1,
    "auto_expand_replicas": "0-1",
    "codec": "best_compression",
    "mapping": {"total_fields": {"limit": 1000}},
}


def documents(streams: Streams, retention: str | None = None) -> dict[str, dict[str, Any]]:
    """Return what `install` puts, by path: the mappings, and an index template that gives them to ``streams``.

    ``retention`` is the time after which documents are deleted, as in ``30d``, or None for never.
    """
    lifecycle: dict[str, Any] = {"enabled": True, **({"data_retention": retention} if retention else {})}
    return {
        f"/_component_template/{NAME}": {
            "template": {"settings": {"index": SETTINGS}, "mappings": MAPPINGS},
            "_meta": {"managed_by": NAME},
        },
        f"/_index_template/{NAME}-{streams.prefix.rstrip('-_=.')}": {
            "index_patterns": streams.patterns,
            "data_stream": {},
            "composed_of": [NAME],
            "template": {
                "lifecycle": lifecycle,
                "data_stream_options": {"failure_store": {"enabled": False}},  # the sink itself reads what was refused
            },
            "priority": PRIORITY + len(streams.prefix),
            "_meta": {"managed_by": NAME},
        },
    }


def privileges(streams: Streams) -> dict[str, Any]:
    """Return the role that the sink's API key needs, by its name: to create documents, and nothing else."""
    allowed = {"names": streams.patterns, "privileges": ["create_doc", "auto_configure"]}
    return {NAME: {"cluster": [], "indices": [allowed]}}


def install(client: Elasticsearch, streams: Streams, retention: str | None = None) -> None:
    """Put `documents`. Putting the same documents twice changes nothing.

    Raises `SinkFailure`, and puts nothing, where a data stream that another template made would get these mappings.
    """
    _refuse_foreign(client, streams)
    for path, document in documents(streams, retention).items():
        try:
            _request(client, "PUT", path, document)
        except SinkFailure as error:
            if not isinstance(error.__cause__, ApiError) or _NO_TYPED_KEYS not in str(error.__cause__.body):
                raise
            _request(client, "PUT", path, _without_typed_keys(document))


def _refuse_foreign(client: Elasticsearch, streams: Streams) -> None:
    """Raise `SinkFailure` where another template than auditsplit's makes one of the data streams."""
    for stream in _request(client, "GET", f"/_data_stream/{streams.prefix}*?expand_wildcards=all")["data_streams"]:
        name, made_by = stream["name"], stream.get("template", NAME)
        if any(fnmatchcase(name, pattern) for pattern in streams.patterns) and not made_by.startswith(NAME):
            raise SinkFailure(Failure.OCCUPIED, f"{name} is of the template {made_by}")


def _without_typed_keys(document: Any) -> Any:
    """Return the mappings in ``document`` for Elasticsearch before 9.4, in which EQL can't use keys of ``extra``."""
    if not isinstance(document, dict):
        return document
    flattened = document.get("type") == "flattened"
    return {
        name: _without_typed_keys(value) for name, value in document.items() if not (flattened and name == "properties")
    }


def create_key(client: Elasticsearch, streams: Streams, name: str) -> str:
    """Return a new API key of that name, in the form of ``ELASTICSEARCH_API_KEY``. Raises `SinkFailure`."""
    answer = _request(client, "POST", "/_security/api_key", {"name": name, "role_descriptors": privileges(streams)})
    return str(answer["encoded"])


def _request(client: Elasticsearch, method: str, path: str, document: dict[str, Any] | None = None) -> Any:
    headers = {"accept": "application/json", **({"content-type": "application/json"} if document else {})}
    try:
        return client.perform_request(method, path, headers=headers, body=document).body
    except ROOTS as error:
        raise explain(error) from error
