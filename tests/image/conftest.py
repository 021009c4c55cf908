"""Fixtures: the image's files, and containers of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support import container
from support.container import Container


@pytest.fixture(scope="session")
def rootfs() -> Iterator[Path]:
    """Return the folder with the image's files."""
    with container.mounted() as folder:
        yield folder


@pytest.fixture
def contained(rootfs: Path, tmp_path: Path) -> Iterator[Container]:
    """Return a container that isn't started yet; it is ended with the test."""
    made = Container(rootfs, tmp_path / "container")
    yield made
    made.kill()
