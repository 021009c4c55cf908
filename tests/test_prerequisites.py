"""``make test`` needs Python and make only."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.environment import plain_environment

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[1]
ABSENT = {
    *("go", "gofmt", "node", "nodejs", "npm", "npx", "java", "javac", "mvn", "cc", "gcc", "g++", "c++", "clang"),
    *("cargo", "rustc", "terraform", "buildah", "docker", "helm"),
}
SUBSET = (
    "tests/test_routing.py",
    "tests/live/test_contract.py::test_a_check_leaves_nothing_behind",
    "tests/live/test_s3_server.py::test_the_permission_to_put_is_enough",
)
"""Tests without a server, with SeaweedFS, and from a file that also has tests of other servers. Not all tests run here,
because that takes minutes. The rest starts its programs through the same helpers."""


def path_without(absent: set[str], folder: Path) -> str:
    """Return a PATH of one folder, with links to all programs of this PATH but the ``absent`` ones."""
    for directory in os.environ["PATH"].split(os.pathsep):
        for program in Path(directory).glob("*"):
            name = program.name
            if name not in absent and not name.startswith(("gcc-", "x86_64-linux-gnu-g", "aarch64-linux-gnu-g")):
                link = folder / name
                if not link.is_symlink():
                    link.symlink_to(program)
    return str(folder)


def pytest_without(path: str, home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Return pytest's end, as make test calls it, with the PATH and an empty home."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not servers", *arguments]
    environ = {**plain_environment(), "PATH": path, "HOME": str(home)}
    environ.pop("JAVA_HOME", None)
    return subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)


def test_the_tests_of_make_test_need_no_other_language(tmp_path: Path) -> None:
    """All tests are collected, and `SUBSET` passes, without Go, Node.js, Java, a C compiler and other tools."""
    (tmp_path / "bin").mkdir()
    path = path_without(ABSENT, tmp_path / "bin")

    collected = pytest_without(path, tmp_path, "--collect-only")
    ran = pytest_without(path, tmp_path, *SUBSET)

    assert collected.returncode == 0, collected.stdout[-2000:]
    assert ran.returncode == 0, ran.stdout[-2000:]
