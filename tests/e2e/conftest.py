"""Fixtures: certificates, one etcd for all clusters, and as many apiservers and functions as a test needs."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from support import commands, kubernetes
from support.function import Function
from support.kubernetes import EVERYTHING, QUICK, Apiserver
from support.pki import Pki
from support.way import Way


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
    """Return a function that makes a function that isn't started yet; all are ended with the test."""
    numbers = itertools.count()
    with ExitStack() as stack:

        def make(**more: Any) -> Function:
            made = Function(tmp_path / f"function-{next(numbers)}", pki, **more)
            stack.callback(made.kill)
            return made

        yield make


@pytest.fixture
def way(
    apiserver: Callable[[], Apiserver], function: Callable[..., Function], pki: Pki, tmp_path: Path
) -> Callable[..., Way]:
    """Return a function that starts both, over TLS, with a generated kubeconfig and its token."""
    numbers = itertools.count()

    def open_way(
        flags: Sequence[str] = QUICK,
        policy: Path = EVERYTHING,
        through: Callable[[str], str] = str,
        **settings: Any,
    ) -> Way:
        made, kubeconfig = Way(apiserver(), function(**settings)), tmp_path / f"webhook-{next(numbers)}.yaml"
        tokens = commands.kubeconfig(kubeconfig, "prod", through(made.function.url), pki.ca)
        made.function.start(tokens)
        made.apiserver.start(kubeconfig, policy, flags)
        return made

    return open_way
