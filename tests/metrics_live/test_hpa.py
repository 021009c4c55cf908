"""A Horizontal Pod Autoscaler that scales by the function's figures, and by metrics-server's."""

from __future__ import annotations

from pathlib import Path

import pytest
from support import live_metrics
from support.aggregating_cluster import Cluster
from support.processes import wait_for

SCALED = "/apis/apps/v1/namespaces/default/deployments/scaled"
HPA = "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers/scaled"


@pytest.mark.parametrize("name", ["metrics_server", "function"])
def test_a_deployment_is_scaled_up_under_load_and_down_after_it(tmp_path: Path, name: str) -> None:
    """From one pod to three, and back to one, by CPU and memory."""
    load = tmp_path / "load"
    load.mkdir()
    (load / "on").touch()
    with live_metrics.live(tmp_path) as live:
        getattr(live, name).register()
        live.apply("hpa.yaml", LOAD=str(load))

        wait_for("three pods", lambda: replicas(live.cluster) == 3, 180)
        (load / "on").unlink()
        wait_for("one pod", lambda: replicas(live.cluster) == 1, 180)
        hpa = live.cluster.json(HPA)

    assert {one["type"]: one["status"] for one in hpa["status"]["conditions"]}["ScalingActive"] == "True"
    assert {one["resource"]["name"] for one in hpa["status"]["currentMetrics"]} == {"cpu", "memory"}


def replicas(cluster: Cluster) -> int:
    """Return how many pods the Deployment is scaled to."""
    count: int = cluster.json(SCALED)["spec"]["replicas"]
    return count
