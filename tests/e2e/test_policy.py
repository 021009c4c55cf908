"""A policy at the receiver against the same policy at an apiserver: the same traffic gives the same lines.

One apiserver records everything, with all bodies, and the function applies the policy. Another apiserver has the policy
itself. Ids, times and versions of objects differ, and so they are left out of what is compared.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from support import traffic
from support.function import held
from support.kubernetes import EVERYTHING, PROBER, Apiserver
from support.way import Way

POLICY = Path(__file__).parents[1] / "support" / "policy.yaml"
DIFFERENT = {
    *("auditID", "requestReceivedTimestamp", "stageTimestamp", "uid", "resourceVersion", "creationTimestamp", "time"),
    *("continue", "token", "expirationTimestamp"),
    "authorization.k8s.io/reason",  # names any of the bindings that allow a request
}
LATENCY = "apiserver.latency.k8s.io/"
NUMBERS = re.compile(r"(?<=resourceVersion)\W+\d+|\d{4}-\d\d-\d\dT[\d:.]+Z|\b[0-9a-f]{8}-[0-9a-f-]{27}\b")
"""The same in messages."""


def comparable(value: Any) -> Any:
    """Return ``value`` without what differs between two apiservers."""
    if isinstance(value, dict):
        return {
            name: comparable(each)
            for name, each in value.items()
            if name not in DIFFERENT and not name.startswith(LATENCY)
        }
    if isinstance(value, list):
        return [comparable(each) for each in value]
    return NUMBERS.sub("", value) if isinstance(value, str) else value


def asked(lines: Iterable[bytes]) -> Counter[str]:
    """Return the comparable events of the traffic, without the apiserver's own and the prober's."""
    events = (json.loads(line, parse_int=str) for line in lines)
    return Counter(
        json.dumps(comparable(event))
        for event in events
        if event["user"].get("username") not in ("system:apiserver", PROBER)
    )


def drive(apiserver: Apiserver) -> None:
    """Send the traffic."""
    traffic.whole(apiserver)
    traffic.credentials(apiserver)


def test_the_lines_are_those_of_an_apiserver_with_the_policy(way: Callable[..., Way]) -> None:
    """Same events, same bodies, same levels."""
    recording, function = way(policy=EVERYTHING, AUDIT_POLICY=str(POLICY), AUDIT_DROP="none")
    deciding, _ = way(policy=POLICY, AUDIT_DROP="none")
    for each in (recording, deciding):
        drive(each)
        each.stop()

    stored = asked(line for _, line in held(function).elements())
    expected = asked(deciding.audit_log())

    assert list((stored - expected).elements()) == list((expected - stored).elements()) == []
    assert stored.total() > 100
    levels = Counter(json.loads(line)["level"] for line in stored.elements())
    assert min(levels[level] for level in ("Metadata", "Request", "RequestResponse")) > 5
    assert len(recording.audit_log()) > stored.total() * 1.5
