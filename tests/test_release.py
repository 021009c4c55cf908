"""What ``make release`` builds: the archives, their checksums, and a wheel that serves."""

from __future__ import annotations

import functools
import hashlib
import http.client
import json
import re
import shlex
import signal
import subprocess
import sys
import tarfile
import zipfile
from contextlib import closing
from pathlib import Path

import pytest
from support.environment import plain_environment
from support.recording import DATA
from support.serve_command import serving

from auditsplit import __version__

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
WHEEL, SDIST = f"auditsplit-{__version__}-py3-none-any.whl", f"auditsplit-{__version__}.tar.gz"


def released(into: Path) -> Path:
    """Return the folder ``into`` after a release into it."""
    command = ["make", "release", f"DIST={into}", "RELEASE_PARTS="]
    subprocess.run(command, cwd=ROOT, env=plain_environment(), check=True, capture_output=True)
    return into


@functools.cache
def dist(base: Path) -> Path:
    """Return a folder with the wheel, the sdist and the checksums. The zips have tests in tests/live/test_bundle.py."""
    return released(base / "release" / "dist")


def test_the_checksums_are_those_of_all_files(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A name and a SHA-256 for each file."""
    made = dist(tmp_path_factory.getbasetemp())
    lines = (made / "SHA256SUMS").read_text().splitlines()

    assert [line.split()[1] for line in lines] == [WHEEL, SDIST]
    assert lines == [f"{hashlib.sha256((made / name).read_bytes()).hexdigest()}  {name}" for name in (WHEEL, SDIST)]


def test_a_second_release_has_the_same_bytes(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> None:
    """Of the same commit."""
    again = released(tmp_path / "dist")

    assert (again / "SHA256SUMS").read_text() == (dist(tmp_path_factory.getbasetemp()) / "SHA256SUMS").read_text()


def test_the_archives_hold_the_package(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The wheel has the package alone. The sdist has what builds the wheel, and no tests."""
    package = {
        path.relative_to(ROOT / "functions").as_posix()
        for name in ("auditsplit", "metricsapi")
        for path in (ROOT / "functions" / name).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    with (
        zipfile.ZipFile(dist(tmp_path_factory.getbasetemp()) / WHEEL) as wheel,
        tarfile.open(dist(tmp_path_factory.getbasetemp()) / SDIST) as sdist,
    ):
        in_wheel = {name for name in wheel.namelist() if ".dist-info/" not in name}
        in_sdist = {member.name.partition("/")[2] for member in sdist.getmembers()}

    assert in_wheel == package
    assert {f"functions/{name}" for name in package} < in_sdist
    assert {"LICENSE", "README.md", "PKG-INFO", "pyproject.toml"} < in_sdist
    assert not {name for name in in_sdist if name.startswith("tests")}


def test_the_sdist_builds_the_same_wheel(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> None:
    """A distributor that starts from the sdist has the same package."""
    with tarfile.open(dist(tmp_path_factory.getbasetemp()) / SDIST) as sdist:
        sdist.extractall(tmp_path, filter="data")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]

    subprocess.run(build, cwd=tmp_path / SDIST.removesuffix(".tar.gz"), check=True, capture_output=True)

    with (
        zipfile.ZipFile(tmp_path / WHEEL) as built,
        zipfile.ZipFile(dist(tmp_path_factory.getbasetemp()) / WHEEL) as released_wheel,
    ):
        assert {entry.filename: entry.CRC for entry in built.infolist()} == {
            entry.filename: entry.CRC for entry in released_wheel.infolist()
        }


def pipx_environment(home: Path) -> dict[str, str]:
    """Return an environment in which pipx installs below ``home``, in the versions that ``requirements.lock`` has."""
    locked = re.findall(r"^[\w.\[\]-]+==[^\\\n]*", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
    pins = home / "constraints.txt"
    pins.write_text("\n".join(re.sub(r"\[.*?\]", "", pin) for pin in locked))
    folders = {"PIPX_HOME": home / "pipx", "PIPX_BIN_DIR": home / "bin", "PIPX_MAN_DIR": home / "man", "HOME": home}
    settings = {"PIPX_DEFAULT_BACKEND": "pip", "PIP_CONSTRAINT": str(pins), "PATH": f"{BIN}:/usr/bin:/bin"}
    return {**plain_environment(), **settings, **{name: str(folder) for name, folder in folders.items()}}


def test_pipx_installs_a_wheel_that_serves(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> None:
    """By the README's own command: the version, a stored list, a clean end at SIGTERM, and the removal."""
    [command] = re.findall(r"`(pipx\s+install\s[^`]*)`", (ROOT / "README.md").read_text())
    (tmp_path / "dist").symlink_to(dist(tmp_path_factory.getbasetemp()))
    environ, program = pipx_environment(tmp_path), tmp_path / "bin" / "auditsplit"
    run = functools.partial(subprocess.run, cwd=tmp_path, env=environ, check=True, capture_output=True, text=True)

    run(shlex.split(command))
    told = run([program, "--version"]).stdout
    with serving(tmp_path, program=program) as (process, _, port):
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
            body = (DATA / "eventlist-003.json").read_bytes()
            connection.request("POST", "/", body, {"Content-Type": "application/json"})
            receipt = json.loads(connection.getresponse().read())
        process.send_signal(signal.SIGTERM)
        ended = process.wait(30)
    run(["pipx", "uninstall", "auditsplit"])

    assert told.split()[-1] == __version__
    assert (receipt["events"], ended) == (35, 0)
    assert (tmp_path / "var/log/kube-audit-bob/audit").read_bytes().count(b"\n") == 7
    assert not program.exists()


def test_every_version_in_the_project_is_the_packages() -> None:
    """Manifests and pages name the image and the wheel with their versions."""
    listed = subprocess.run(["git", "ls-files", "*.md", "*.yaml"], cwd=ROOT, capture_output=True, check=True, text=True)
    found = {
        name: set(re.findall(r"/auditsplit[:-](\d+\.\d+\.\d+)", (ROOT / name).read_text()))
        for name in listed.stdout.split()
    }

    assert {name: versions for name, versions in found.items() if versions - {__version__}} == {}
    assert set().union(*found.values()) == {__version__}
