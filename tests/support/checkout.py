"""A checkout in which ``make run`` is up, for the pages that begin with it."""

from __future__ import annotations

import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from support.environment import plain_environment
from support.server import free_port

ROOT = Path(__file__).parents[2]


class Checkout:
    """A checkout's folder, and the port of its function."""

    def __init__(self, folder: Path, port: int) -> None:
        """Keep both."""
        self.folder, self.port = folder, port

    def run(self, command: str) -> str:
        """Return what a page's ``command`` prints; it has to succeed."""
        command = command.replace(":8888", f":{self.port}")
        done = subprocess.run(
            ["bash", "-euc", command], cwd=self.folder, env=plain_environment(), capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode()


@contextmanager
def running(folder: Path) -> Iterator[Checkout]:
    """Make a checkout in ``folder``, and serve from it until the block ends. It installs what serving requires."""
    for path in ROOT.iterdir():
        if path.name not in (".venv-run", "kubeconfigs", "var"):
            (folder / path.name).symlink_to(path)
    (folder / "kubeconfigs").mkdir()
    shutil.copy(ROOT / "kubeconfigs" / "example.yaml", folder / "kubeconfigs")
    port = free_port()
    process = subprocess.Popen(["make", "run", f"PORT={port}"], cwd=folder, env=plain_environment())
    try:
        _wait(port)
        yield Checkout(folder, port)
    finally:
        for child in psutil.Process(process.pid).children(recursive=True):
            child.terminate()
        process.wait(30)


def _wait(port: int) -> None:
    deadline = time.monotonic() + 120
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz"):
                return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
