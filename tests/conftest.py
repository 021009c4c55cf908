"""Fixtures: the recorded EventLists, and the function in its real server."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from support.server import Server, serving

DATA = Path(__file__).parent / "data"


@pytest.fixture(scope="session")
def manifest() -> dict[str, Any]:
    """Return what the recording says of itself: files, events, users."""
    document: dict[str, Any] = json.loads((DATA / "manifest.json").read_text())
    return document


@pytest.fixture(scope="session")
def recorded(manifest: dict[str, Any]) -> list[bytes]:
    """Return the recorded EventLists, as kube-apiserver posted them."""
    return [(DATA / entry["file"]).read_bytes() for entry in manifest["lists"]]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Return a function that starts the real functions-framework below ``tmp_path``; all are stopped at the end."""
    with ExitStack() as stack:

        def start(*, before: tuple[str, ...] = (), **environ: str) -> Server:
            return stack.enter_context(serving(tmp_path, environ, before=before))

        yield start
