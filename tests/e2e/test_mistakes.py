"""Each kubeconfig that the checker refuses is one that a real kube-apiserver gets wrong, in the way that it says."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from auditsplit.sender import rules
from e2e import commands
from e2e.function import Function
from e2e.kubernetes import EVERYTHING, QUICK, Apiserver
from e2e.mistakes import MISTAKES, Document, Expectation, Outcome, Place, arriving, document
from e2e.pki import Pki
from e2e.processes import NotStarted
from e2e.receiver import Posted, Reply, receiving

IMPATIENT = (*QUICK, "--audit-webhook-initial-backoff=20ms")
FOUND_WHILE_READ = {"type", "unknown-field"}
ROWS = [pytest.param(*row, id=f"{number}-{row[0]}") for number, row in enumerate(MISTAKES)]
Run = Callable[[Callable[[Place], Document]], Outcome]


def redirecting(posted: Posted) -> Reply:
    """Take everything; as a proxy, answer as those front ends do that have moved from http to https."""
    if posted.method == "POST" and posted.target.startswith("http://audit.run.app"):
        return Reply(301, {"Location": "http://audit.run.app/https"})
    return Reply()


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory, pki: Pki) -> Iterator[Function]:
    """Return a function that takes this machine's senders without a token."""
    made = Function(tmp_path_factory.mktemp("local") / "function", pki)
    made.start()
    yield made
    made.kill()


@pytest.fixture
def run(apiserver: Callable[[], Apiserver], pki: Pki, tmp_path: Path, local: Function) -> Run:
    """Return a function that starts an apiserver with a kubeconfig, ``webhook.yaml``, and says what came of it."""

    def run(make: Callable[[Place], Document]) -> Outcome:
        server, refusal, kubeconfig = apiserver(), None, tmp_path / "webhook.yaml"
        with receiving(redirecting, pki.serving(pki.receiver)) as secure, receiving(redirecting) as plain:
            kubeconfig.write_text(json.dumps(make(Place(secure.url, plain.url, local.url, pki, tmp_path))))
            try:
                server.start(kubeconfig, EVERYTHING, IMPATIENT)
            except NotStarted as error:
                refusal = error.said
            server.stop()
        return Outcome(refusal, [*secure.got, *plain.got], len(server.audit_log()), sum(server.lost().values()))

    return run


@pytest.mark.parametrize(("rule", "make", "expected"), ROWS)
def test_the_apiserver_gets_it_wrong_and_the_checker_says_so(
    run: Run, tmp_path: Path, rule: str, make: Callable[[Place], Document], expected: Expectation
) -> None:
    """It doesn't start, shows no credentials, or loses the events: loudly or without a word."""
    found = run(make)
    said = commands.auditsplit("kubeconfig", "check", tmp_path / "webhook.yaml", expected=1)

    assert expected(found), found
    assert f"error: {rule}: " in said.talk


def test_every_rule_that_refuses_is_tried() -> None:
    """No rule of the checker's is refused on hearsay."""
    refusing = {rule.name for rule in rules.RULES if rule.level == rules.ERROR} | FOUND_WHILE_READ

    assert {rule for rule, _, _ in MISTAKES} == refusing


def test_a_path_arrives_without_its_dots_and_double_slashes(run: Run) -> None:
    """kube-apiserver itself cleans the server's path, so none of them meets a front end that would redirect."""
    found = run(lambda at: document(at, server=f"{at.https}/a//b/./../c/"))

    assert arriving(lambda posted: posted.target == "/a/c?timeout=30s")(found)
