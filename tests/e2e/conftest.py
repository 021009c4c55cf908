"""Fixtures: certificates, one etcd for all clusters, and as many apiservers and functions as a test wants."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from e2e import kubernetes
from e2e.function import Function
from e2e.kubernetes import Apiserver
from e2e.pki import Pki


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    """Return the certificates."""
    return Pki(tmp_path_factory.mktemp("pki") / "files")


@pytest.fixture(scope="session")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the URL of an etcd that all apiservers share, each below a prefix of its own."""
    with kubernetes.etcd(tmp_path_factory.mktemp("etcd")) as url:
        yield url


@pytest.fixture
def apiserver(tmp_path: Path, pki: Pki, etcd: str) -> Iterator[Callable[[], Apiserver]]:
    """Return a function that makes an apiserver that isn't started yet; all are ended with the test."""
    numbers = itertools.count()
    with ExitStack() as stack:

        def make() -> Apiserver:
            made = Apiserver(tmp_path / f"apiserver-{next(numbers)}", pki, etcd)
            stack.callback(made.kill)
            return made

        yield make


@pytest.fixture
def function(tmp_path: Path, pki: Pki) -> Iterator[Callable[..., Function]]:
    """Return a function that starts the function with the tokens' hashes it is given; all are ended with the test."""
    numbers = itertools.count()
    with ExitStack() as stack:

        def start(*tokens: str, **more: Any) -> Function:
            made = Function(tmp_path / f"function-{next(numbers)}", pki, tokens, **more)
            stack.callback(made.kill)
            made.start()
            return made

        yield start
