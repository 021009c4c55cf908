"""Fixtures: the servers, started once for all tests that ask for them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support import elastic_corpus, elastic_server, servers

_FIXTURES = {"audited", "azure_url", "elastic", "gcs_url", "secured_elastic"}
_PLACES = {"az", "elasticsearch", "gs"}
_FILES = ("test_elastic", "test_forward", "test_fuzz", "test_kibana", "test_policy", "test_prometheus")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests whose servers and programs Go, Node.js or Java build, so that ``make test`` leaves them out.

    A file is marked whole if nearly all of its tests need such a server or program. A place is named by its test's
    parameter.
    """
    for item in items:
        if isinstance(item, pytest.Function) and item.path.parent == Path(__file__).parent:
            parameters = item.callspec.params.values() if hasattr(item, "callspec") else ()
            places = {value for value in parameters if isinstance(value, str)} & _PLACES
            if places or _FIXTURES & set(item.fixturenames) or item.path.name.startswith(_FILES):
                item.add_marker("servers")


@pytest.fixture(scope="session")
def s3_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the URL of a running S3 server."""
    with servers.seaweed(tmp_path_factory.mktemp("seaweed")) as url:
        yield url


@pytest.fixture(scope="session")
def gcs_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the URL of a running Google Cloud Storage server."""
    with servers.fake_gcs(tmp_path_factory.mktemp("gcs")) as url:
        yield url


@pytest.fixture(scope="session")
def azure_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the URL of the account of a running Azure blob server."""
    with servers.azurite(tmp_path_factory.mktemp("azurite")) as url:
        yield url


@pytest.fixture(scope="session")
def elastic(tmp_path_factory: pytest.TempPathFactory) -> Iterator[elastic_server.Node]:
    """Return a running Elasticsearch that lets everybody do all."""
    with elastic_server.node(tmp_path_factory.mktemp("elastic")) as node:
        yield node


@pytest.fixture(scope="session")
def audited(elastic: elastic_server.Node, recorded: list[bytes]) -> elastic_corpus.Corpus:
    """Return the recorded events, in Elasticsearch."""
    return elastic_corpus.store(elastic, recorded, "recorded")


@pytest.fixture(scope="session")
def secured_elastic(tmp_path_factory: pytest.TempPathFactory) -> Iterator[elastic_server.Node]:
    """Return a running Elasticsearch with users, API keys, TLS and a trial licence."""
    with elastic_server.node(tmp_path_factory.mktemp("secured-elastic"), secured=True) as node:
        yield node
