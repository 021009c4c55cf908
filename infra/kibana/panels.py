"""The panels of the dashboard: which fields, counted and shown how; for the questions of Kubernetes' auditing page."""

from __future__ import annotations

from typing import Any, NamedTuple

DENIED = (
    'kubernetes.audit.annotations.authorization_k8s_io/decision : "forbid" '
    "or kubernetes.audit.responseStatus.code : (401 or 403)"
)
IMPERSONATED = "user.effective.name : *"

USER, ACTION, RESOURCE = "user.name", "event.action", "orchestrator.resource.type"
NAMESPACE, NAME = "orchestrator.namespace", "orchestrator.resource.name"
CLUSTER = "orchestrator.cluster.name"

LABELS = {
    USER: "User",
    ACTION: "Verb",
    RESOURCE: "Resource",
    NAMESPACE: "Namespace",
    NAME: "Name",
    CLUSTER: "Cluster",
    "user.effective.name": "Impersonated user",
    "source.ip": "Address",
    "user_agent.original": "User agent",
    "kubernetes.audit.requestURI": "Request URI",
    "kubernetes.audit.stage": "Stage",
    "kubernetes.audit.responseStatus.code": "Status",
}
"""How the columns are headed, by field."""


def kuery(query: str) -> dict[str, str]:
    """Return ``query`` as Kibana keeps it."""
    return {"query": query, "language": "kuery"}


class Place(NamedTuple):
    """Where a panel lies on the dashboard, which is 48 wide."""

    x: int
    y: int
    w: int
    h: int


class Panel(NamedTuple):
    """A Lens panel: what its columns are, and how they are shown."""

    title: str
    place: Place
    columns: dict[str, dict[str, Any]]
    shown: str
    query: str = ""


def count(query: str = "", label: str = "Events") -> dict[str, Any]:
    """Return a column that counts events, all or those that match ``query``."""
    column = {
        "label": label,
        "customLabel": True,
        "dataType": "number",
        "operationType": "count",
        "isBucketed": False,
        "scale": "ratio",
        "sourceField": "___records___",
        "params": {"emptyAsNull": False},
    }
    return {**column, "filter": kuery(query)} if query else column


def distinct(field: str, label: str) -> dict[str, Any]:
    """Return a column that counts the different values of ``field``."""
    return {**count(label=label), "operationType": "unique_count", "sourceField": field}


def top(field: str, size: int) -> dict[str, Any]:
    """Return a column with the ``size`` commonest values of ``field``, events without one among them."""
    return {
        "label": LABELS[field],
        "customLabel": True,
        "dataType": "ip" if field == "source.ip" else "string",
        "operationType": "terms",
        "isBucketed": True,
        "scale": "ordinal",
        "sourceField": field,
        "params": {
            "size": size,
            "orderBy": {"type": "column", "columnId": "events"},
            "orderDirection": "desc",
            "otherBucket": True,
            "missingBucket": field != "source.ip",
            "parentFormat": {"id": "terms"},
            "include": [],
            "exclude": [],
            "includeIsRegex": False,
            "excludeIsRegex": False,
        },
    }


def time() -> dict[str, Any]:
    """Return a column with the time, in steps that fit the range."""
    return {
        "label": "Time",
        "customLabel": True,
        "dataType": "date",
        "operationType": "date_histogram",
        "isBucketed": True,
        "scale": "interval",
        "sourceField": "@timestamp",
        "params": {"interval": "auto", "includeEmptyRows": True, "dropPartials": False},
    }


def table(title: str, place: Place, sizes: dict[str, int], query: str = "", **more: dict[str, Any]) -> Panel:
    """Return a table of the commonest values of some fields, the sizes by field, and how many events each has."""
    columns = {f"by{number}": top(field, size) for number, (field, size) in enumerate(sizes.items())}
    return Panel(title, place, {**columns, "events": count(), **more}, "lnsDatatable", query)


PANELS = [
    Panel("Events", Place(0, 0, 12, 6), {"events": count()}, "lnsMetric"),
    Panel("Users", Place(12, 0, 12, 6), {"events": distinct(USER, "Users")}, "lnsMetric"),
    Panel("Clusters", Place(24, 0, 12, 6), {"events": distinct(CLUSTER, "Clusters")}, "lnsMetric"),
    Panel("Denied", Place(36, 0, 12, 6), {"events": count(DENIED, "Denied")}, "lnsMetric"),
    Panel(
        "What happened, and when",
        Place(0, 6, 48, 12),
        {"time": time(), "by0": top(ACTION, 10), "events": count()},
        "lnsXY",
    ),
    table("Who did it", Place(0, 18, 24, 14), {USER: 20}, denied=count(DENIED, "Denied")),
    table("What was done", Place(24, 18, 24, 14), {ACTION: 10, RESOURCE: 10}),
    table("On what", Place(0, 32, 24, 14), {RESOURCE: 10, NAMESPACE: 10, NAME: 10}),
    table("From where", Place(24, 32, 24, 14), {"source.ip": 20, "user_agent.original": 5}),
    table("Where it was observed", Place(0, 46, 24, 14), {CLUSTER: 20, "kubernetes.audit.stage": 4}),
    table("Where it was going", Place(24, 46, 24, 14), {"kubernetes.audit.requestURI": 20}),
    table("What was denied", Place(0, 60, 24, 14), {USER: 10, ACTION: 5, RESOURCE: 5, NAMESPACE: 5}, DENIED),
    table("Who acted as whom", Place(24, 60, 24, 14), {USER: 10, "user.effective.name": 10}, IMPERSONATED),
]

LATEST = Place(0, 74, 48, 20)
"""Where the Discover search lies."""
