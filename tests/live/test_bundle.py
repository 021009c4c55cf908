"""The bundles, each unpacked where nothing of the checkout is: what a cloud gets is all that it needs."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import platform
import re
import stat
import subprocess
import sys
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from support import object_places, runtime_api, server, servers
from support.lambdaevents import Sent, function_url
from support.object_places import ObjectPlace
from support.recording import DATA

from auditsplit import auth

ROOT = Path(__file__).parents[2]
UV = servers.PYTHON.with_name("uv")
HERE = {"x86_64": "lambda-x86_64", "aarch64": "lambda-arm64"}[platform.machine()]
ELSEWHERE = {"lambda-x86_64": "lambda-arm64", "lambda-arm64": "lambda-x86_64"}[HERE]
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
TOKEN, HASH = auth.new_token("prod")
JSON = {"Content-Type": "application/json", "Authorization": f"Bearer {TOKEN}"}
Build = Callable[..., Path]


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """Return a function that makes a bundle as ``make bundle`` does, once; anew for another number of a ``copy``."""

    @functools.cache
    def build(bundle: str, *options: str, copy: int = 0) -> Path:
        into = tmp_path_factory.mktemp(f"bundle-{copy}")
        command: list[str | Path] = [servers.PYTHON, ROOT / "infra" / "bundle.py", bundle, "--into", into, *options]
        told = subprocess.run(command, cwd=into, check=True, stdout=subprocess.PIPE, text=True).stdout.split()
        made = into / f"auditsplit-{bundle}.zip"
        assert told == [hashlib.sha256(made.read_bytes()).hexdigest(), str(made)]
        return made

    return build


def for_here(build: Build, copy: int = 0) -> Path:
    """Return the bundle for this machine's processor and this Python, with its bytecode."""
    return build(HERE, "--extra", "s3", "--python", PYTHON, "--compiler", sys.executable, copy=copy)


def for_elsewhere(build: Build) -> Path:
    """Return the bundle for the other processor, and the Python that is the default."""
    return build(ELSEWHERE, "--extra", "s3")


def source(build: Build, copy: int = 0) -> Path:
    """Return the source for Cloud Functions."""
    return build("functions", "--extra", "s3", copy=copy)


def environment(place: ObjectPlace) -> dict[str, str]:
    """Return an environment that has nothing of this one but the way to programs, and credentials for ``place``."""
    return {
        "PATH": os.environ["PATH"],
        "AUDIT_TOKENS": str(HASH),
        "AUDIT_SINKS": place.url,
        "AWS_ACCESS_KEY_ID": "put-only",
        "AWS_SECRET_ACCESS_KEY": servers.secret("put-only"),
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def fresh_python(folder: Path, *packages: str | Path) -> Path:
    """Return the Python of a new environment with these packages, in the lock's versions, and nothing else."""
    subprocess.run([UV, "venv", "--quiet", "--python", sys.executable, folder], check=True)
    python = folder / "bin" / "python"
    locked: list[str | Path] = ["--quiet", "--python", python, "-c", ROOT / "requirements.lock"]
    subprocess.run([UV, "pip", "install", *locked, *packages], check=True)
    return python


def modules_of(python: Path, *names: str) -> list[str]:
    """Return which of the modules ``python`` finds by itself."""
    program = "import sys, importlib.util as u; print(*[name for name in sys.argv[1:] if u.find_spec(name)])"
    found = subprocess.run([python, "-I", "-c", program, *names], check=True, stdout=subprocess.PIPE, text=True)
    return found.stdout.split()


def names_of(bundle: Path) -> set[str]:
    """Return the files in a zip."""
    with zipfile.ZipFile(bundle) as opened:
        return set(opened.namelist())


def modules() -> set[str]:
    """Return the files of functions/ that are Python's."""
    folder = ROOT / "functions"
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*.py")}


def lines_of(place: ObjectPlace) -> Counter[bytes]:
    """Return the lines that are stored."""
    return Counter(line for body in place.held().values() for line in body.splitlines())


def test_lambdas_bundle_runs_with_nothing_beside_it(
    build: Build, request: pytest.FixtureRequest, tmp_path: Path, recorded: list[bytes]
) -> None:
    """In an environment with Lambda's runtime client alone: a recorded list ends up in the bucket."""
    place, task = object_places.s3_place(request), tmp_path / "task"
    with zipfile.ZipFile(for_here(build)) as bundle:
        bundle.extractall(task)
    python = fresh_python(tmp_path / "venv", "awslambdaric")
    assert modules_of(python, "awslambdaric", "auditsplit", "boto3", "orjson") == ["awslambdaric"]

    with runtime_api.running(task, environment(place), tmp_path / "log", python=str(python)) as function:
        outcome = function.invoke(function_url(Sent(headers=JSON, body=recorded[2])))

    assert (outcome.kind, outcome.document.get("statusCode")) == ("response", 200), outcome
    assert sum(lines_of(place).values()) == json.loads(outcome.document["body"])["events"] == 35
    assert lines_of(place) <= Counter((DATA / "audit.log").read_bytes().splitlines())


def test_the_source_for_cloud_functions_runs_with_its_requirements(
    build: Build, request: pytest.FixtureRequest, tmp_path: Path, recorded: list[bytes]
) -> None:
    """In an environment with what requirements.txt pins: functions-framework serves it, and the list is stored."""
    place, folder = object_places.s3_place(request), tmp_path / "source"
    with zipfile.ZipFile(source(build)) as bundle:
        bundle.extractall(folder)
    python = fresh_python(tmp_path / "venv", "--require-hashes", "-r", folder / "requirements.txt")
    assert modules_of(python, "functions_framework", "auditsplit", "boto3") == ["functions_framework", "boto3"]

    with server.serving(tmp_path, environment(place), main=folder / "main.py", programs=python.parent) as running:
        answer = running.post(recorded[2], Authorization=JSON["Authorization"])

    assert (answer.status, answer.json()["events"]) == (200, 35)
    assert sum(lines_of(place).values()) == 35


def test_the_same_input_makes_the_same_bytes(build: Build) -> None:
    """So a deployment changes when something changed."""
    assert for_here(build, copy=1).read_bytes() == for_here(build).read_bytes()
    assert source(build, copy=1).read_bytes() == source(build).read_bytes()


def test_a_bundle_is_for_the_processor_and_python_that_it_says(build: Build) -> None:
    """Each library in it has that architecture's name and first bytes, not this machine's."""
    machine, number = {"lambda-arm64": ("aarch64", 183), "lambda-x86_64": ("x86_64", 62)}[ELSEWHERE]
    with zipfile.ZipFile(for_elsewhere(build)) as bundle:
        libraries = {name: bundle.read(name)[:20] for name in bundle.namelist() if name.endswith(".so")}

    packages = {name.split("/")[0] for name in libraries}
    assert packages == {"ahocorasick_rs", "blake3", "isal", "msgspec", "orjson", "yaml"}
    assert all(name.endswith(f".cpython-313-{machine}-linux-gnu.so") for name in libraries)
    assert {int.from_bytes(head[18:20], "little") for head in libraries.values()} == {number}


def test_lambdas_bundle_has_what_it_needs_and_no_more(build: Build) -> None:
    """Code and its licences: no tests, caches, other stores, nor what only functions-framework or a build needs."""
    names = names_of(for_elsewhere(build))
    top = {name.split("/")[0] for name in names}

    assert {"lambda_function.py", "auditsplit", "boto3", "orjson"} <= top
    assert not {"main.py", "requirements.txt", "bin", "tests", "flask", "functions_framework", "google", "pytest"} & top
    assert not [name for name in names if re.search(r"__pycache__|/RECORD$|/INSTALLER$|^\.", name)]
    assert modules() - names == {"main.py"}
    assert any(name.startswith("orjson-") and "LICENSE" in name for name in names)


def test_bytecode_is_in_a_bundle_on_demand(build: Build) -> None:
    """It says where Lambda unpacks it, not where it was made, and is taken whatever a file's time."""
    tag = f"cpython-{sys.version_info.major}{sys.version_info.minor}"
    with zipfile.ZipFile(for_here(build)) as bundle:
        compiled = bundle.read(f"auditsplit/serve/__pycache__/receiver.{tag}.pyc")

    assert int.from_bytes(compiled[4:8], "little") == 1  # PEP 552: by hash, unchecked
    assert b"/var/task/auditsplit/serve/receiver.py" in compiled
    assert b"/tmp" not in compiled


def test_every_entry_has_one_time_and_mode(build: Build) -> None:
    """Readable by the user that Lambda runs it as."""
    for path in (for_here(build), source(build)):
        with zipfile.ZipFile(path) as bundle:
            entries = bundle.infolist()

        assert [entry.filename for entry in entries] == sorted(entry.filename for entry in entries)
        assert {entry.date_time for entry in entries} == {(1980, 1, 1, 0, 0, 0)}
        assert {entry.external_attr >> 16 for entry in entries} == {stat.S_IFREG | 0o644}


def test_the_source_is_what_lies_in_functions(build: Build) -> None:
    """With the chosen store in its requirements, in the lock's versions, and no other's."""
    with zipfile.ZipFile(source(build)) as bundle:
        pinned = set(re.findall(r"^(\S+==\S+)", bundle.read("requirements.txt").decode(), re.MULTILINE))
    locked = set(re.findall(r"^(\S+==\S+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE))

    assert names_of(source(build)) == {*modules(), "requirements.txt"}
    assert pinned <= locked
    names = {pin.partition("==")[0] for pin in pinned}
    assert {"boto3", "functions-framework"} <= names
    assert not {"google-cloud-storage", "azure-storage-blob", "pytest"} & names


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["lambda-mips"], "'lambda-mips' is not one of"),
        (["lambda-arm64", "--extra", "s4"], "s4"),
        (["lambda-arm64", "--compiler", sys.executable, "--python", "3.99"], "the bundle is for 3.99"),
        (["lambda-arm64", "--compiler", "/none"], "does not run"),
        (["functions", "--compiler", sys.executable], "by itself"),
    ],
)
def test_a_mistake_is_told(arguments: list[str], told: str, tmp_path: Path) -> None:
    """And leaves no bundle behind."""
    command: list[str | Path] = [servers.PYTHON, ROOT / "infra" / "bundle.py", *arguments, "--into", tmp_path / "dist"]

    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)

    assert done.returncode in (1, 2)
    assert told in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "dist").exists()
