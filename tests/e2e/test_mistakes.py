"""Each kubeconfig that the checker refuses is one that a real kube-apiserver gets wrong, in the way that it says."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeAlias

import pytest
from support import commands
from support.function import Function
from support.kubernetes import EVERYTHING, QUICK, Apiserver
from support.mistakes import MISTAKES, Document, Outcome, Place, arriving, document
from support.pki import Pki
from support.processes import NotStarted
from support.receiver import Posted, Reply, receiving

from auditsplit.webhook import rules

AT_ONCE = 3  # most of it is waiting
IMPATIENT = (*QUICK, "--audit-webhook-initial-backoff=20ms")
FOUND_WHILE_READ = {"type", "unknown-field"}
Run: TypeAlias = "Callable[[Callable[[Place], Document], Path], Outcome]"
ROWS = [pytest.param(number, id=f"{number}-{row[0]}") for number, row in enumerate(MISTAKES)]


def redirecting(posted: Posted) -> Reply:
    """Take everything; as a proxy, answer as those front ends do that have moved from http to https."""
    if posted.method == "POST" and posted.target.startswith("http://audit.run.app"):
        return Reply(301, {"Location": "http://audit.run.app/https"})
    return Reply()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, pki: Pki, etcd: str) -> Iterator[Run]:
    """Return a function that starts an apiserver with a kubeconfig, ``webhook.yaml`` in a folder, and ends it."""
    local = Function(tmp_path_factory.mktemp("local") / "function", pki)

    def run(make: Callable[[Place], Document], folder: Path) -> Outcome:
        folder.mkdir()
        server, refusal, kubeconfig = Apiserver(folder / "apiserver", pki, etcd), None, folder / "webhook.yaml"
        with receiving(redirecting, pki.serving(pki.receiver)) as secure, receiving(redirecting) as plain:
            kubeconfig.write_text(json.dumps(make(Place(secure.url, plain.url, local.url, pki, folder))))
            try:
                server.start(kubeconfig, EVERYTHING, IMPATIENT)
                server.stop()
            except NotStarted as error:
                refusal = error.said
            finally:
                server.kill()
        return Outcome(refusal, [*secure.got, *plain.got], len(server.audit_log()), sum(server.lost().values()))

    try:
        local.start()
        yield run
    finally:
        local.kill()


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory, run: Run) -> Iterator[list[Future[tuple[Outcome, str]]]]:
    """Return what comes of each row, and what the checker says of it."""
    folder = tmp_path_factory.mktemp("mistakes")

    def try_out(number: int) -> tuple[Outcome, str]:
        _, make, _ = MISTAKES[number]
        outcome = run(make, folder / str(number))
        checked = commands.auditsplit("kubeconfig", "check", folder / str(number) / "webhook.yaml", expected=1)
        return outcome, checked.talk

    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield [pool.submit(try_out, number) for number in range(len(MISTAKES))]


@pytest.mark.parametrize("number", ROWS)
def test_the_apiserver_gets_it_wrong_and_the_checker_says_so(
    found: list[Future[tuple[Outcome, str]]], number: int
) -> None:
    """It doesn't start, shows no credentials, or loses the events: loudly or without a word."""
    rule, _, expected = MISTAKES[number]
    outcome, talk = found[number].result()

    assert expected(outcome), outcome
    assert f"error: {rule}: " in talk


def test_every_rule_that_refuses_is_tried() -> None:
    """No rule of the checker's is refused on hearsay."""
    refusing = {rule.name for rule in rules.RULES if rule.level == rules.ERROR} | FOUND_WHILE_READ

    assert {rule for rule, _, _ in MISTAKES} == refusing


def test_a_path_arrives_without_its_dots_and_double_slashes(run: Run, tmp_path: Path) -> None:
    """kube-apiserver itself cleans the server's path, so none of them meets a front end that would redirect."""
    outcome = run(lambda at: document(at, server=f"{at.https}/a//b/./../c/"), tmp_path / "run")

    assert arriving(lambda posted: posted.target == "/a/c?timeout=30s")(outcome)
