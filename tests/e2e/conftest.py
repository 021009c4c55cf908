"""Fixtures: certificates, one etcd for all clusters, and as many apiservers and functions as a test wants."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from support import commands, kubernetes
from support.function import Function, by_place
from support.kubernetes import EVERYTHING, QUICK, Apiserver
from support.pki import Pki


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


class Way(NamedTuple):
    """An apiserver of the cluster ``prod`` that sends to a function."""

    apiserver: Apiserver
    function: Function

    def logged(self) -> Counter[tuple[str, bytes]]:
        """Return the lines of the apiserver's own log, each with the place where it belongs."""
        return by_place(self.apiserver.audit_log(), "prod", self.function.user)


@pytest.fixture
def way(
    apiserver: Callable[[], Apiserver], function: Callable[..., Function], pki: Pki, tmp_path: Path
) -> Callable[..., Way]:
    """Return a function that starts both, over TLS, with a generated kubeconfig and its token."""

    def open_way(
        flags: Sequence[str] = QUICK,
        policy: Path = EVERYTHING,
        through: Callable[[str], str] = str,
        **settings: Any,
    ) -> Way:
        made, kubeconfig = Way(apiserver(), function(**settings)), tmp_path / "webhook.yaml"
        tokens = commands.kubeconfig(kubeconfig, "prod", through(made.function.url), pki.ca)
        made.function.start(tokens)
        made.apiserver.start(kubeconfig, policy, flags)
        return made

    return open_way
