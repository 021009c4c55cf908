"""Write the saved objects for Kibana to standard output.

``python infra/kibana/generate.py > infra/kibana/auditsplit.ndjson``

A data view, a Discover search and a dashboard, an object on each line. They are in the form that Kibana 8.15 exports,
which later ones bring up to date at the import: data view 8.0.0, search 10.5.0, dashboard 10.2.0 (``modelVersions`` in
Kibana's saved_search and dashboard plugins), and Lens panels by value. Only Python's own library is needed.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from panels import ACTION, CLUSTER, LABELS, LATEST, NAME, NAMESPACE, PANELS, RESOURCE, USER, Panel, kuery

DATA_VIEW = "auditsplit"
SEARCH = "auditsplit-events"
DASHBOARD = "auditsplit-overview"

TITLE = "kube-audit-*,logs-kubernetes.audit_logs-*,-*_rejected"
"""What the data view covers: the default target, Elastic's own, and not what is no event."""

COLUMNS = [
    *(USER, ACTION, RESOURCE, NAMESPACE, NAME, "kubernetes.audit.responseStatus.code"),
    *("source.ip", "user_agent.original", CLUSTER),
]
"""The columns of the Discover search, after the time."""

CONTROLS = (CLUSTER, USER, NAMESPACE)
"""The fields that can be chosen from above the panels."""


def data_view() -> dict[str, Any]:
    """Return the data view."""
    attributes = {
        "title": TITLE,
        "name": "Kubernetes audit events (auditsplit)",
        "timeFieldName": "@timestamp",
        "allowNoIndex": True,  # it may be imported before the first event
    }
    return saved("index-pattern", DATA_VIEW, "8.0.0", attributes, [])


def search() -> dict[str, Any]:
    """Return the Discover search."""
    name = "kibanaSavedObjectMeta.searchSourceJSON.index"
    source = {"query": kuery(""), "filter": [], "indexRefName": name, "highlightAll": True, "version": True}
    attributes = {
        "title": "Kubernetes audit events",
        "description": "Who did what, on what, from where; newest first.",
        "columns": COLUMNS,
        "sort": [["@timestamp", "desc"]],
        "grid": {},
        "hideChart": False,
        "isTextBasedQuery": False,
        "timeRestore": False,
        "kibanaSavedObjectMeta": {"searchSourceJSON": packed(source)},
    }
    return saved("search", SEARCH, "10.5.0", attributes, [reference(name)])


def dashboard() -> dict[str, Any]:
    """Return the dashboard."""
    indexes = [f"panel-{number}" for number in range(len(PANELS))]
    panels = [lens(panel, index) for panel, index in zip(PANELS, indexes, strict=True)]
    latest = {
        "type": "search",
        "title": "Latest events",
        "panelIndex": "latest",
        "gridData": {**LATEST._asdict(), "i": "latest"},
        "panelRefName": "panel_latest",
        "embeddableConfig": {"enhancements": {}},
    }
    attributes = {
        "title": "Kubernetes audit",
        "description": "Who did what, when, on what, from where, and what was denied.",
        "timeRestore": True,
        "timeFrom": "now-24h",
        "timeTo": "now",
        "refreshInterval": {"pause": True, "value": 60000},
        "optionsJSON": packed({"useMargins": True, "syncColors": True, "syncCursor": True, "hidePanelTitles": False}),
        "kibanaSavedObjectMeta": {"searchSourceJSON": packed({"query": kuery(""), "filter": []})},
        "controlGroupInput": controls(),
        "panelsJSON": packed([*panels, latest]),
    }
    references = [reference(f"{index}:{layer(index)}") for index in indexes]
    references += [reference(f"controlGroup_control-{number}:optionsListDataView") for number in range(len(CONTROLS))]
    references.append({"type": "search", "id": SEARCH, "name": "latest:panel_latest"})
    return saved("dashboard", DASHBOARD, "10.2.0", attributes, references)


def lens(panel: Panel, index: str) -> dict[str, Any]:
    """Return a panel with its visualization by value; ``index`` is its name on the dashboard."""
    form = {
        "layers": {
            index: {
                "columnOrder": list(panel.columns),
                "columns": panel.columns,
                "incompleteColumns": {},
                "sampling": 1,
            }
        }
    }
    attributes = {
        "title": panel.title,
        "description": "",
        "type": "lens",
        "visualizationType": panel.shown,
        "references": [reference(layer(index))],
        "state": {
            "datasourceStates": {"formBased": form},
            "visualization": visualization(panel, index),
            "query": kuery(panel.query),
            "filters": [],
            "internalReferences": [],
            "adHocDataViews": {},
        },
    }
    return {
        "type": "lens",
        "title": panel.title,
        "panelIndex": index,
        "gridData": {**panel.place._asdict(), "i": index},
        "embeddableConfig": {"attributes": attributes, "enhancements": {}},
    }


def visualization(panel: Panel, index: str) -> dict[str, Any]:
    """Return how a panel shows its columns."""
    common = {"layerId": index, "layerType": "data"}
    if panel.shown == "lnsMetric":
        return {**common, "metricAccessor": "events"}
    if panel.shown == "lnsDatatable":
        return {**common, "columns": [{"columnId": name, "isTransposed": False} for name in panel.columns]}
    bars = {"seriesType": "bar_stacked", "xAccessor": "time", "splitAccessor": "by0", "accessors": ["events"]}
    return {
        "legend": {"isVisible": True, "position": "right"},
        "valueLabels": "hide",
        "preferredSeriesType": "bar_stacked",
        "layers": [{**common, **bars}],
    }


def controls() -> dict[str, Any]:
    """Return the lists to choose from."""
    panels = {
        f"control-{number}": {
            "type": "optionsListControl",
            "order": number,
            "grow": True,
            "width": "medium",
            "explicitInput": {
                "id": f"control-{number}",
                "fieldName": field,
                "title": LABELS[field],
                "selectedOptions": [],
                "enhancements": {},
            },
        }
        for number, field in enumerate(CONTROLS)
    }
    parents = dict.fromkeys(("ignoreFilters", "ignoreQuery", "ignoreTimerange", "ignoreValidations"), False)
    return {
        "chainingSystem": "HIERARCHICAL",
        "controlStyle": "oneLine",
        "showApplySelections": False,
        "ignoreParentSettingsJSON": packed(parents),
        "panelsJSON": packed(panels),
    }


def layer(index: str) -> str:
    """Return the name by which a panel's layer refers to its data view."""
    return f"indexpattern-datasource-layer-{index}"


def reference(name: str) -> dict[str, str]:
    """Return a reference to the data view."""
    return {"type": "index-pattern", "id": DATA_VIEW, "name": name}


def saved(
    kind: str, identity: str, version: str, attributes: dict[str, Any], references: list[dict[str, str]]
) -> dict[str, Any]:
    """Return a saved object; ``version`` is the form its attributes are in."""
    return {
        "type": kind,
        "id": identity,
        "attributes": attributes,
        "references": references,
        "managed": False,
        "coreMigrationVersion": "8.8.0",
        "typeMigrationVersion": version,
    }


def packed(value: object) -> str:
    """Return ``value`` as JSON, as Kibana keeps what it doesn't search."""
    return json.dumps(value, separators=(",", ":"))


if __name__ == "__main__":
    for made in (data_view(), search(), dashboard()):
        sys.stdout.write(f"{packed(made)}\n")
