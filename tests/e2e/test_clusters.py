"""Several clusters: each writes as itself, whatever its kubeconfig says."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from auditsplit import auth
from e2e import traffic
from e2e.function import Function, by_place, held
from e2e.kubeconfig import write
from e2e.kubernetes import EVERYTHING, QUICK, Apiserver
from e2e.pki import Pki

IMPATIENT = (*QUICK, "--audit-webhook-initial-backoff=50ms")


def test_two_clusters_and_a_thief(
    apiserver: Callable[[], Apiserver], function: Callable[..., Function], pki: Pki, tmp_path: Path
) -> None:
    """Two apiservers at once are kept apart; a third with one's token at the other's path is refused, to the last."""
    (east, east_known), (west, west_known) = auth.new_token("east"), auth.new_token("west")
    receiver = function(str(east_known), str(west_known))
    servers = {"east": apiserver(), "west": apiserver(), "thief": apiserver()}
    configured = {
        "east": write(tmp_path / "east.yaml", f"{receiver.url}/clusters/east", pki.ca, token=east),
        "west": write(tmp_path / "west.yaml", receiver.url, pki.ca, token=west),
        "thief": write(tmp_path / "thief.yaml", f"{receiver.url}/clusters/east", pki.ca, token=west),
    }

    def live(name: str) -> None:
        servers[name].start(configured[name], EVERYTHING, IMPATIENT if name == "thief" else QUICK)
        traffic.burst(servers[name], range(20), user="bob" if name == "thief" else "alice@example.com")
        servers[name].stop()

    with ThreadPoolExecutor() as threads:
        list(threads.map(live, servers))

    stolen = servers["thief"].audit_log()
    assert held(receiver) == by_place(servers["east"].audit_log(), "east") + by_place(servers["west"].audit_log(), "west")
    assert len(stolen) > 40
    assert servers["thief"].lost() == {"webhook": len(stolen)}
    assert {message[:6] for message in receiver.warnings()} == {"403 to"}
    assert receiver.rejected() == []
    assert [servers[name].lost() for name in ("east", "west")] == [{}, {}]
