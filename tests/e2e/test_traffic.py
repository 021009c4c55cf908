"""What the function stored beside what the apiserver logged: the same events, the same bytes, in the right places."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from auditsplit import auth
from e2e import traffic
from e2e.function import Function, by_place, held
from e2e.kubernetes import EVERYTHING, Apiserver
from e2e.kubeconfig import write
from e2e.pki import Pki
from e2e.processes import wait_for


@pytest.mark.parametrize("user", ["authenticated", "impersonated"])
def test_the_function_stores_what_the_apiserver_logs(
    apiserver: Callable[[], Apiserver], function: Callable[..., Function], pki: Pki, tmp_path: Path, user: str
) -> None:
    """Event by event and byte by byte, in its user's place, whatever the users do; nothing else, nothing twice."""
    token, known = auth.new_token("prod")
    receiver, server = function(str(known), user=user), apiserver()
    server.start(write(tmp_path / "webhook.yaml", f"{receiver.url}/clusters/prod", pki.ca, token=token))
    traffic.whole(server)
    wait_for("its count of events is its log's", lambda: server.metrics() == (len(server.audit_log()), {}))
    server.stop()

    logged = server.audit_log()
    assert held(receiver) == by_place(logged, "prod", user)
    assert server.lost() == {}
    assert not [name for name, body in traffic.PARSER_BREAKERS.items() if not any(body in line for line in logged)]
    assert (receiver.rejected(), receiver.warnings()) == ([], [])


def test_sigterm_sends_what_is_buffered(
    apiserver: Callable[[], Apiserver], function: Callable[..., Function], pki: Pki, tmp_path: Path
) -> None:
    """An apiserver that is stopped before its first batch is due sends it first."""
    token, known = auth.new_token("prod")
    receiver, server = function(str(known)), apiserver()
    kubeconfig = write(tmp_path / "webhook.yaml", receiver.url, pki.ca, token=token)
    server.start(kubeconfig, EVERYTHING, ["--audit-webhook-batch-max-wait=1h", "--audit-webhook-batch-max-size=10000"])
    traffic.burst(server, range(10))
    before = receiver.stored() if receiver.root.exists() else {}
    server.stop()

    assert before == {}
    assert held(receiver) == by_place(server.audit_log(), "prod")
    assert server.lost() == {}
