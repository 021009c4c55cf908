"""Each kubeconfig that the checker refuses is one that a real kube-apiserver gets wrong, in the way that it says."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from e2e.kubernetes import EVERYTHING, QUICK, Apiserver
from e2e.mistakes import MISTAKES, Document, Expectation, Place, outcome
from e2e.pki import Pki
from e2e.processes import NotStarted
from e2e.receiver import Posted, Reply, receiving

IMPATIENT = (*QUICK, "--audit-webhook-initial-backoff=20ms")


def redirecting(posted: Posted) -> Reply:
    """Take everything, but for one path, which has moved, as a front end's http has to its https."""
    return Reply(301, {"Location": "/"}) if posted.target.startswith("/moved") else Reply()


@pytest.mark.parametrize(
    ("rule", "make", "expected"), MISTAKES, ids=[f"{number}-{row[0]}" for number, row in enumerate(MISTAKES)]
)
def test_the_apiserver_gets_it_wrong(
    apiserver: Callable[[], Apiserver],
    pki: Pki,
    tmp_path: Path,
    rule: str,
    make: Callable[[Place], Document],
    expected: Expectation,
) -> None:
    """It doesn't start, shows no credentials, or loses the events: loudly or without a word."""
    server, refusal = apiserver(), None
    kubeconfig = tmp_path / "webhook.yaml"
    with receiving(redirecting, pki.serving(pki.receiver)) as secure, receiving(redirecting) as plain:
        kubeconfig.write_text(json.dumps(make(Place(secure.url, plain.url, pki, tmp_path))))
        try:
            server.start(kubeconfig, EVERYTHING, IMPATIENT)
        except NotStarted as error:
            refusal = error.said
        server.stop()
    found = outcome(refusal, [secure, plain], len(server.audit_log()), sum(server.lost().values()))

    assert expected(found), (rule, found)
