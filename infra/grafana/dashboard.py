"""Write the dashboard for Grafana to standard output.

``.venv/bin/python infra/grafana/dashboard.py > infra/grafana/auditsplit.json``

Grafana's own library builds it, so it has the fields and choices of Grafana 11.6. Later versions upgrade it when they
load it. Data source and clusters are variables of the dashboard, so the import asks for nothing. The events an hour
come from the recording rules in infra/prometheus.
"""

from __future__ import annotations

import json
import sys
from typing import NamedTuple

from grafana_foundation_sdk.builders import common, prometheus, stat, table, timeseries
from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common as kinds
from grafana_foundation_sdk.models import dashboard as models

SOURCE = models.DataSourceRef(type_val="prometheus", uid="${datasource}")
OURS = 'cluster=~"$cluster"'
LOST = 'plugin=~"buffered|webhook|truncate"'
QUANTILES = {"median": 0.5, "99 %": 0.99}


class Shown(NamedTuple):
    """A panel: its queries by the legend of their answers. ``unit`` is the name of a unit in Grafana."""

    title: str
    description: str
    unit: str
    queries: dict[str, str]


def rate(metric: str, by: str, labels: str = OURS) -> str:
    """Return the increase of a counter a second, by labels."""
    return f"sum by ({by}) (rate({metric}{{{labels}}}[$__rate_interval]))"


def quantiles(metric: str, by: str, legend: str, labels: str) -> dict[str, str]:
    """Return the quantiles of a histogram by labels."""
    rates = rate(f"{metric}_bucket", f"le, {by}", labels)
    return {f"{legend}, {name}": f"histogram_quantile({share}, {rates})" for name, share in QUANTILES.items()}


NUMBERS = (
    Shown(
        "Stored",
        "Events a second that all sinks hold, each batch once.",
        "short",
        {"": f"sum(rate(auditsplit_events_stored_total{{{OURS}}}[$__rate_interval]))"},
    ),
    Shown(
        "Missing, last hour",
        "Made by the apiservers, not given up, and not stored. Some may be on their way or were counted later.",
        "short",
        {"": f"sum(cluster:auditsplit_events_missing:increase1h{{{OURS}}})"},
    ),
    Shown(
        "Lost by apiservers, last hour",
        "Events that the apiservers gave up.",
        "short",
        {
            "": f"sum(cluster:apiserver_audit_errors:increase1h{{{OURS}}})"
            f" or 0 * sum(cluster:apiserver_audit_events:increase1h{{{OURS}}})"
        },
    ),
    Shown(
        "Delay",
        "Nine of ten batches have no older event.",
        "s",
        {"": f"histogram_quantile(0.9, {rate('auditsplit_oldest_event_delay_seconds_bucket', 'le')})"},
    ),
    Shown("Instances", "Instances that answer Prometheus.", "short", {"": 'sum(up{job="auditsplit"})'}),
)

CURVES = (
    Shown(
        "Events by cluster",
        "Received events, including retries.",
        "short",
        {"{{cluster}}": rate("auditsplit_events_received_total", "cluster")},
    ),
    Shown(
        "Answers by status",
        "200: stored. 4xx: refused, and lost after five tries. 503: retried. Unknown senders have the cluster other.",
        "reqps",
        {"{{cluster}} {{status}}": rate("auditsplit_requests_total", "cluster, status")},
    ),
    Shown(
        "Time by phase",
        "Reading the body, decoding it, transforms, and writing to each sink.",
        "s",
        quantiles("auditsplit_phase_seconds", "phase, sink", "{{phase}} {{sink}}", 'phase=~".+"'),
    ),
    Shown(
        "Delay of a batch's oldest event",
        "From its time to its arrival. The apiserver waits up to 30 s for a batch to fill.",
        "s",
        quantiles("auditsplit_oldest_event_delay_seconds", "cluster", "{{cluster}}", OURS),
    ),
    Shown(
        "Bytes",
        "Of bodies as sent, and what each sink was given.",
        "Bps",
        {
            "from {{cluster}}": rate("auditsplit_received_bytes_total", "cluster"),
            "to {{sink}}": rate("auditsplit_written_bytes_total", "sink"),
        },
    ),
    Shown(
        "Out of the ordinary",
        "Malformed items, events without their bodies, and events of batches that were stored before.",
        "short",
        {
            "{{cluster}} rejected": rate("auditsplit_events_rejected_total", "cluster"),
            "{{cluster}} truncated": rate("auditsplit_events_truncated_total", "cluster"),
            "{{cluster}} duplicate": rate("auditsplit_events_duplicate_total", "cluster"),
        },
    ),
    Shown(
        "Given up by apiservers",
        "By plugin. buffered: a full buffer. webhook: five tries failed. truncate: too large even without bodies.",
        "short",
        {"{{cluster}} {{plugin}}": rate("apiserver_audit_error_total", "cluster, plugin", f"{OURS}, {LOST}")},
    ),
    Shown(
        "Made, stored and missing, an hour",
        "Both sides' counters over the hour before.",
        "short",
        {
            "{{cluster}} made": f"cluster:apiserver_audit_events:increase1h{{{OURS}}}",
            "{{cluster}} stored": f"cluster:auditsplit_events_stored:increase1h{{{OURS}}}",
            "{{cluster}} missing": f"cluster:auditsplit_events_missing:increase1h{{{OURS}}}",
        },
    ),
)

ALERTS = Shown(
    "Alerts that fire",
    "From infra/prometheus/auditsplit.rules.yaml. docs/operate.md says what to do.",
    "short",
    {"": 'ALERTS{alertstate="firing", alertname=~"Auditsplit.+|ApiserverLosesEvents"}'},
)


def dashboard() -> models.Dashboard:
    """Return the dashboard."""
    made = (
        build.Dashboard("auditsplit")
        .uid("auditsplit")
        .description("Kubernetes audit events: received, stored, missing.")
        .tags(["kubernetes", "audit"])
        .time("now-6h", "now")
        .refresh("1m")
        .timezone("browser")
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .with_variable(build.DatasourceVariable("datasource").label("Data source").type("prometheus"))
        .with_variable(clusters())
    )
    for shown in NUMBERS:
        made.with_panel(number(shown))
    made.with_panel(alerts(ALERTS))
    for shown in CURVES:
        made.with_panel(curves(shown))
    found = made.build()
    for index, panel in enumerate(found.panels or []):
        panel.id_val = index + 1
    for variable in found.templating.list_val or [] if found.templating else []:
        variable.auto = variable.auto_min = variable.auto_count = None  # an interval's, which neither of them is
    return found


def clusters() -> build.QueryVariable:
    """Return the list of clusters to choose from."""
    query: dict[str, object] = {
        "qryType": 1,
        "query": "label_values(auditsplit_requests_total, cluster)",
        "refId": "PrometheusVariableQueryEditor-VariableQuery",
    }
    return (
        build.QueryVariable("cluster")
        .label("Cluster")
        .datasource(SOURCE)
        .query(query)
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_ASC)
        .multi(multi=True)
        .include_all(include_all=True)
        .all_value(".*")
        .current(models.VariableOption(selected=True, text="All", value="$__all"))
    )


def targets(shown: Shown, *, instant: bool = False) -> list[prometheus.Dataquery]:
    """Return the queries of a panel."""
    made = []
    for letter, (legend, expression) in zip("ABCDEF", shown.queries.items(), strict=False):
        query = prometheus.Dataquery().ref_id(letter).datasource(SOURCE).expr(expression).legend_format(legend)
        made.append(query.instant() if instant else query.range())
    return made


def number(shown: Shown) -> stat.Panel:
    """Return a panel with a number and its curve."""
    panel = stat.Panel().title(shown.title).description(shown.description).datasource(SOURCE).unit(shown.unit)
    for target in targets(shown):
        panel.with_target(target)
    reduced = common.ReduceDataOptions().calcs(["lastNotNull"])
    return panel.reduce_options(reduced).graph_mode(kinds.BigValueGraphMode.AREA).decimals(1).span(4).height(5)


def curves(shown: Shown) -> timeseries.Panel:
    """Return a panel with curves over time."""
    panel = timeseries.Panel().title(shown.title).description(shown.description).datasource(SOURCE).unit(shown.unit)
    for target in targets(shown):
        panel.with_target(target)
    legend = (
        common.VizLegendOptions().display_mode(kinds.LegendDisplayMode.TABLE).placement(kinds.LegendPlacement.BOTTOM)
    )
    legend.calcs(["mean", "max"]).show_legend(show_legend=True)
    tooltip = common.VizTooltipOptions().mode(kinds.TooltipDisplayMode.MULTI).sort(kinds.SortOrder.DESCENDING)
    return panel.legend(legend).tooltip(tooltip).fill_opacity(10).span(12).height(9)


def alerts(shown: Shown) -> table.Panel:
    """Return a panel with a row for each alert."""
    panel = table.Panel().title(shown.title).description(shown.description).datasource(SOURCE).no_value("none")
    for target in targets(shown, instant=True):
        panel.with_target(target)
    hidden = {"Time": True, "Value": True, "__name__": True, "alertstate": True}
    panel.with_transformation(models.DataTransformerConfig(id_val="labelsToFields", options={"mode": "columns"}))
    panel.with_transformation(models.DataTransformerConfig(id_val="merge", options={}))
    panel.with_transformation(models.DataTransformerConfig(id_val="organize", options={"excludeByName": hidden}))
    return panel.span(4).height(5)


if __name__ == "__main__":
    sys.stdout.write(f"{json.dumps(dashboard(), cls=JSONEncoder, indent=1, sort_keys=True)}\n")
