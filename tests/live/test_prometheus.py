"""infra/prometheus and infra/grafana by promtool, and by a real Prometheus that scrapes the real function."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from support import receiver
from support.eventlists import event, eventlist
from support.prometheus_server import INFRA, PROMTOOL, ROOT, Prometheus, prometheus, telling
from support.server import serving

DASHBOARD = json.loads((ROOT / "infra" / "grafana" / "auditsplit.json").read_text())
RULES = yaml.safe_load((INFRA / "auditsplit.rules.yaml").read_text())
TESTS = yaml.safe_load((INFRA / "auditsplit.rules_test.yaml").read_text())["tests"]
ALERTS = {rule["alert"] for group in RULES["groups"] for rule in group["rules"] if "alert" in rule}
MADE, LOST = "apiserver_audit_event_total", 'apiserver_audit_error_total{plugin="webhook"}'


def promtool(*arguments: str | Path) -> str:
    """Return promtool's output. It must succeed."""
    done = subprocess.run([PROMTOOL, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_promtool_finds_nothing_wrong() -> None:
    """In the rules and in the configuration beside them."""
    promtool("check", "rules", "--lint=all", "--lint-fatal", INFRA / "auditsplit.rules.yaml")
    promtool("check", "config", "--syntax-only", "--lint=all", "--lint-fatal", INFRA / "prometheus.yaml")


def test_the_rules_own_tests_pass() -> None:
    """Each of them names all alerts that fire, so no other alert does."""
    promtool("test", "rules", INFRA / "auditsplit.rules_test.yaml")


def test_no_alert_is_left_out_of_the_rules_tests() -> None:
    """Each alert fires in a test, and no alert fires in the first test."""
    well, *others = [json.dumps(test.get("promql_expr_test", [])) for test in TESTS]

    assert {name for test in others for name in re.findall(r'alertname=\\"(\w+)', test)} == ALERTS
    assert "alertname" not in well
    assert {rule["record"] for group in RULES["groups"] for rule in group["rules"] if "record" in rule} <= {
        name for test in TESTS for name in re.findall(r"cluster:\w+:\w+", json.dumps(test))
    } | {"cluster:apiserver_audit_events:increase1h", "cluster:auditsplit_events_stored:increase1h"}


class Watched(NamedTuple):
    """A Prometheus that scraped a function and an apiserver in normal operation and in trouble."""

    prometheus: Prometheus
    seen: str
    """The function's metrics at the end."""


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """Post valid, refused, rejected and truncated batches while Prometheus scrapes."""
    folder = tmp_path_factory.mktemp("watched")
    apiserver: dict[str, float] = {MADE: 0}
    with ExitStack() as stack:
        downstream = stack.enter_context(receiver.receiving())
        sinks = f"file:log?fsync=0 webhook+{downstream.url}?required=0"
        environ = {"AUDIT_SINKS": sinks, "AUDIT_CLUSTER": "prod", "WORKERS": "2"}
        function = stack.enter_context(serving(folder, environ))
        stub = stack.enter_context(telling(apiserver))
        theirs = {"target": stub, "scheme": None, "tls_config": None, "authorization": None}
        ours = {"target": f"127.0.0.1:{function.port}"}
        server = stack.enter_context(prometheus(tmp_path_factory.mktemp("prometheus"), ours, theirs))

        def post(number: int) -> None:
            truncated = {"audit.k8s.io/truncated": "true"}
            good = eventlist(
                [event(f"user-{number}", auditID=f"{number}-{n}", annotations=truncated) for n in range(10)]
            )
            assert [function.post(good).status for _ in range(2)] == [200, 200]
            assert function.post(eventlist([event(auditID=str(number)), b"42"])).status == 200
            assert function.post(f"no JSON {number}".encode()).status == 400
            apiserver[MADE] += 16
            apiserver[LOST] = apiserver.get(LOST, 0) + 3

        post(0)
        wait_for(lambda: server.samples("auditsplit_events_stored_total") and server.samples(MADE))
        for number in range(1, 20):
            post(number)
            time.sleep(0.1)
        wait_for(lambda: [value for _, value in server.samples("auditsplit_events_stored_total")] == [20 * 11])
        wait_for(lambda: [value for _, value in server.samples(MADE)] == [20 * 16])
        yield Watched(server, function.request("GET", "/metrics").body.decode())


def wait_for(holds: Callable[[], Any]) -> None:
    """Wait until ``holds``; half a minute is a failure."""
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_prometheus_reads_both_sides_by_the_configuration(watched: Watched) -> None:
    """Both are up, and the apiserver's events have the function's cluster."""
    up = {labels["job"]: value for labels, value in watched.prometheus.samples("up")}
    clusters = {
        name: {labels["cluster"] for labels, _ in watched.prometheus.samples(name)}
        for name in (
            "apiserver_audit_event_total",
            "auditsplit_events_stored_total",
        )
    }

    assert up == {"auditsplit": 1, "apiserver": 1}
    assert clusters == {"apiserver_audit_event_total": {"prod"}, "auditsplit_events_stored_total": {"prod"}}


def test_every_rule_is_evaluated_without_an_error(watched: Watched) -> None:
    """By the server itself, with their texts."""
    groups = watched.prometheus.ask("rules")["groups"]

    health = {rule["name"]: (rule["health"], rule.get("lastError", "")) for group in groups for rule in group["rules"]}

    assert set(health.values()) == {("ok", "")}
    assert health.keys() >= ALERTS


def test_alerts_fire_for_what_happened(watched: Watched) -> None:
    """Refused bodies, malformed items, truncated events, and events that the apiserver gave up."""
    expected = {
        ("AuditsplitRefusing", "prod"),
        ("AuditsplitEventsRejected", "prod"),
        ("AuditsplitEventsTruncated", "prod"),
        ("ApiserverLosesEvents", "prod"),
    }

    wait_for(lambda: watched.prometheus.samples('ALERTS{alertstate="firing"}'))
    firing = watched.prometheus.samples('ALERTS{alertstate="firing"}')

    assert {(labels["alertname"], labels["cluster"]) for labels, _ in firing} == expected


def queries() -> list[str]:
    """Return the queries of the dashboard's panels, for all clusters."""
    expressions = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
    return [text.replace("$cluster", ".*").replace("$__rate_interval", "1m") for text in expressions]


@pytest.mark.parametrize("query", queries())
def test_every_panel_of_the_dashboard_shows_something(query: str, watched: Watched) -> None:
    """Prometheus answers its query with numbers."""
    wait_for(lambda: watched.prometheus.samples(query))

    assert all(value == value for _, value in watched.prometheus.samples(query))  # noqa: PLR0124 - NaN is not itself


def test_the_dashboards_clusters_are_found(watched: Watched) -> None:
    """By the query of the variable. The data source is the only other variable."""
    source, clusters = DASHBOARD["templating"]["list"]
    [(metric, label)] = re.findall(r"^label_values\((\w+), (\w+)\)$", clusters["query"]["query"])

    assert (source["type"], source["query"]) == ("datasource", "prometheus")
    assert watched.prometheus.ask(f"label/{label}/values", **{"match[]": metric}) == ["prod"]
    assert set(re.findall(r'"uid": "([^"]*)"', json.dumps(DASHBOARD))) == {"${datasource}", "auditsplit"}


def test_names_and_labels_are_the_functions_own(watched: Watched) -> None:
    """The function reports every metric named auditsplit_… in rules and dashboard, and every label beside it."""
    texts = [rule["expr"] for group in RULES["groups"] for rule in group["rules"]] + queries()
    told = {
        name: set(re.findall(r'(\w+)="', labels))
        for name, labels in re.findall(r"^(\w+)\{(.*)\} ", watched.seen, re.MULTILINE)
    }

    asked = {
        (name, label)
        for text in texts
        for name, labels in re.findall(r"(?<![\w:])(auditsplit_\w+)(?:\{([^}]*)\})?", text)
        for label in ["", *re.findall(r"(\w+)[!=]", labels)]
    }

    assert {name for name, _ in asked} <= told.keys()
    assert not [(name, label) for name, label in asked if label and label not in told[name]]


def test_the_dashboard_is_what_its_script_writes() -> None:
    """The file is written by the script, never by hand."""
    script = ROOT / "infra" / "grafana" / "dashboard.py"

    made = subprocess.run([sys.executable, script], capture_output=True, check=True)

    assert made.stdout == (ROOT / "infra" / "grafana" / "auditsplit.json").read_bytes()
