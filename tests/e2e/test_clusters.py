"""Several clusters: each writes as itself, whatever its kubeconfig says."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import yaml
from support import commands, traffic
from support.function import Function, by_place, held
from support.kubernetes import EVERYTHING, QUICK, Apiserver
from support.pki import Pki

IMPATIENT = (*QUICK, "--audit-webhook-initial-backoff=50ms")


def test_two_clusters_and_a_thief(
    apiserver: Callable[[], Apiserver], function: Callable[..., Function], pki: Pki, tmp_path: Path
) -> None:
    """Two apiservers at once are kept apart; a third with one's token at the other's path is refused, to the last."""
    receiver = function()
    clusters = [{"name": name, "server": receiver.url, "ca-file": str(pki.ca)} for name in ("east", "west")]
    (tmp_path / "clusters.yaml").write_text(json.dumps(clusters))
    said = commands.auditsplit("kubeconfig", "from-list", tmp_path / "clusters.yaml", "--folder", tmp_path / "made")
    receiver.start(commands.tokens_in(said.out))
    west = yaml.safe_load((tmp_path / "made" / "west.yaml").read_text())
    (tmp_path / "stolen").write_text(west["users"][0]["user"]["token"])
    commands.kubeconfig(
        tmp_path / "made" / "thief.yaml", "east", receiver.url, pki.ca, "--token-from", tmp_path / "stolen"
    )
    servers = {"east": apiserver(), "west": apiserver(), "thief": apiserver()}

    def live(name: str) -> None:
        server = servers[name]
        server.start(tmp_path / "made" / f"{name}.yaml", EVERYTHING, IMPATIENT if name == "thief" else QUICK)
        traffic.burst(server, range(20), user="bob" if name == "thief" else "alice@example.com")
        server.stop()

    with ThreadPoolExecutor() as threads:
        list(threads.map(live, servers))

    logs = {name: server.audit_log() for name, server in servers.items()}
    assert held(receiver) == by_place(logs["east"], "east") + by_place(logs["west"], "west")
    assert len(logs["thief"]) > 40
    assert servers["thief"].lost() == {"webhook": len(logs["thief"])}
    assert set(receiver.troubles()) == {403}
    assert receiver.rejected() == []
    assert [servers[name].lost() for name in ("east", "west")] == [{}, {}]
