"""What the function stored beside what the apiserver logged: the same events, the same bytes, in the right places."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable

import pytest
from support import traffic
from support.function import held
from support.processes import wait_for
from support.way import Way

from auditsplit.policy.parts import BODIES, MARK


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


def without_bodies(line: bytes) -> str:
    """Return an event without its bodies and the mark that they are missing, in one spelling."""
    event = json.loads(line)
    if event.get("annotations", {}).pop(MARK, None) and not event["annotations"]:
        del event["annotations"]
    return json.dumps({name: value for name, value in event.items() if name not in BODIES})


def test_no_credential_is_stored_by_default(way: Callable[..., Way]) -> None:
    """The bodies of Secrets, tokens and reviews are cut, though the policy records them; all else stays."""
    apiserver, function = opened = way(AUDIT_DROP="")
    traffic.whole(apiserver)
    credentials = traffic.credentials(apiserver)
    apiserver.stop()

    logged, stored = opened.logged(), held(function)
    cut, whole = stored - logged, logged - stored
    assert [any(secret in line for _, line in logged) for secret in credentials] == [True] * len(credentials)
    assert not [line for _, line in stored if any(secret in line for secret in credentials)]
    assert cut.total() == whole.total() > len(credentials)
    assert all(f'"{MARK}":"'.encode() in line for _, line in cut)
    assert Counter((place, without_bodies(line)) for place, line in cut) == Counter(
        (place, without_bodies(line)) for place, line in whole
    )
    events = [json.loads(line) for _, line in whole]
    nameless = [event for event in events if "objectRef" not in event]
    assert {event["objectRef"]["resource"] for event in events if event not in nameless} == {
        "secrets",
        "serviceaccounts",
        "tokenreviews",
    }
    assert {event["responseObject"]["kind"] for event in nameless} == {"Status"}


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
