"""Fixtures: the recorded EventLists, the function in its real server, and a folder for commands to work in."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from support import receiver
from support.receiver import Receiver
from support.recording import DATA, manifest
from support.server import MAIN, Server, serving


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what starts a server as slow, so that ``make quick`` leaves it out."""
    for item in items:
        if isinstance(item, pytest.Function) and {"serve", "server"} & set(item.fixturenames):
            item.add_marker("slow")


@pytest.fixture(scope="session")
def recorded() -> list[bytes]:
    """Return the recorded EventLists, as kube-apiserver posted them."""
    return [(DATA / entry["file"]).read_bytes() for entry in manifest()["lists"]]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Return a function that starts the real functions-framework below ``tmp_path``; all are stopped at the end."""
    with ExitStack() as stack:

        def start(*, before: tuple[str, ...] = (), main: Path = MAIN, **environ: str) -> Server:
            return stack.enter_context(serving(tmp_path, environ, before=before, main=main))

        yield start


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Work in ``tmp_path`` without any of our settings, and restore the log's handlers, which commands replace."""
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith("AUDIT_") or name in ("K_SERVICE", "AWS_LAMBDA_FUNCTION_NAME"):
            monkeypatch.delenv(name)
    log = logging.getLogger("auditsplit")
    handlers, level, propagate = log.handlers[:], log.level, log.propagate
    yield
    log.handlers[:], log.level, log.propagate = handlers, level, propagate


@pytest.fixture
def downstream() -> Iterator[Receiver]:
    """Return a downstream that accepts everything, until a test sets ``answering``."""
    with receiver.receiving() as started:
        yield started
