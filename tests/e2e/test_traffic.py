"""What the function stored beside what the apiserver logged: the same events, the same bytes, in the right places."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from e2e import traffic
from e2e.conftest import Way
from e2e.function import held
from e2e.processes import wait_for


@pytest.mark.parametrize("user", ["authenticated", "impersonated"])
def test_the_function_stores_what_the_apiserver_logs(way: Callable[..., Way], user: str) -> None:
    """Event by event and byte by byte, in its user's place, whatever the users do; nothing else, nothing twice."""
    apiserver, function = opened = way(user=user)
    traffic.whole(apiserver)
    wait_for("its count of events is its log's", lambda: apiserver.metrics() == (len(apiserver.audit_log()), {}))
    apiserver.stop()

    logged = apiserver.audit_log()
    assert held(function) == opened.logged()
    assert apiserver.lost() == {}
    assert not [name for name, body in traffic.PARSER_BREAKERS.items() if not any(body in line for line in logged)]
    assert (function.rejected(), function.troubles()) == ([], {})


def test_sigterm_sends_what_is_buffered(way: Callable[..., Way]) -> None:
    """An apiserver that is stopped before its first batch is due sends it first."""
    apiserver, function = opened = way(
        flags=["--audit-webhook-batch-max-wait=1h", "--audit-webhook-batch-max-size=10000"]
    )
    traffic.burst(apiserver, range(10))
    before = function.stored()
    apiserver.stop()

    assert before == {}
    assert held(function) == opened.logged()
    assert apiserver.lost() == {}
