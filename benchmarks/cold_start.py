"""Lambda's cold start: the bundle under Lambda's own runtime client, from the process's start to the first answers.

What Lambda itself adds (fetching the zip, starting a machine) is not in it, and S3 is as near as it can be. CPU is what
tells: Lambda gives a whole core to a start, and to requests as much of one as the memory's size buys.
"""

from __future__ import annotations

import itertools
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path
from typing import NamedTuple

import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))  # so that it runs as a script, from anywhere
sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))  # so that it finds the tests' servers and builders

from benchmarks.objects import s3_server
from support import object_places, runtime_api
from support.eventlists import event, eventlist
from support.lambdaevents import Sent, function_url

from auditsplit import auth

_ROOT = Path(__file__).parents[1]
_BUNDLE = {"x86_64": "lambda-x86_64", "aarch64": "lambda-arm64"}[platform.machine()]
_PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
_STARTS = 9
_EVENTS, _USERS = 400, 4
_TOKEN, _HASH = auth.new_token("bench")
_NOTHING = "def ingest(event, context):\n    return {'statusCode': 200}\n"
_STEPS = """
import sys, time
sys.path.insert(0, sys.argv[1])
for step in sys.argv[2:]:
    began = time.process_time()
    exec(step)
    print(1000 * (time.process_time() - began))
"""
_IMPORTS = {
    "orjson, msgspec, isal, blake3, ahocorasick: decode, route, compress": (
        "import orjson, msgspec, blake3, ahocorasick_rs; from isal import igzip"
    ),
    "auditsplit itself, and of the standard library what it needs": "import lambda_function",
    "boto3 and botocore": "import boto3",
    "the S3 client: its description of the service, and TLS": "boto3.client('s3', region_name='us-east-1')",
}


class Times(NamedTuple):
    """Milliseconds of the start, the first answer and the second; of the start also those of CPU."""

    start: float
    start_cpu: float
    first: float
    first_cpu: float
    second: float


def unpacked(folder: Path, name: str, *options: str) -> Path:
    """Return the folder of a bundle that ``make bundle`` would make with these options."""
    command: list[str | Path] = [sys.executable, _ROOT / "infra" / "bundle.py", _BUNDLE, "--extra", "s3"]
    command += ["--python", _PYTHON, *options, "--into", folder / name]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    task = folder / name / "task"
    with zipfile.ZipFile(folder / name / f"auditsplit-{_BUNDLE}.zip") as bundle:
        bundle.extractall(task)
    return task


def cold(task: Path, sinks: str, log: Path, number: int) -> Times:
    """Return how long a new process takes."""
    environ = {**os.environ, "AUDIT_SINKS": sinks, "AUDIT_TOKENS": str(_HASH)}
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {_TOKEN}"}
    bodies = [
        eventlist(event(f"user-{item % _USERS}", auditID=f"{number}-{turn}-{item}") for item in range(_EVENTS))
        for turn in range(2)
    ]
    wall, cpu = [time.perf_counter()], [0.0]
    with runtime_api.running(task, environ, log) as function:
        process = psutil.Process(function.process.pid)
        function.wait_ready()
        wall.append(time.perf_counter())
        cpu.append(sum(process.cpu_times()[:2]))
        for body in bodies:
            outcome = function.invoke(function_url(Sent(headers=headers, body=body)))
            wall.append(time.perf_counter())
            cpu.append(sum(process.cpu_times()[:2]))
            if outcome.document.get("statusCode") != 200:  # noqa: PLR2004 - HTTP's
                raise RuntimeError(f"expected 200, came {outcome}; {function.log}")
    start, first, second = (1000 * (end - begin) for begin, end in itertools.pairwise(wall))
    start_cpu, first_cpu, _ = (1000 * (end - begin) for begin, end in itertools.pairwise(cpu))
    return Times(start, start_cpu, first, first_cpu, second)


def starts(folder: Path, source: Path, compiled: Path, s3: str) -> None:
    """Print how long new processes take; they take turns."""
    nothing = folder / "nothing"
    nothing.mkdir()
    (nothing / "lambda_function.py").write_text(_NOTHING)
    cases = {
        "a handler that does nothing": (nothing, "memory:"),
        "a store in memory": (source, "memory:"),
        "a store in memory, with bytecode": (compiled, "memory:"),
        "S3": (source, s3),
        "S3, with bytecode": (compiled, s3),
    }
    found: dict[str, list[Times]] = {case: [] for case in cases}
    for number in range(-1, _STARTS):  # the first warms the disk's cache
        for case, (task, sinks) in cases.items():
            times = cold(task, sinks, folder / "log", number)
            found[case] += [times] if number >= 0 else []
    columns = ("what", "start, ms", "CPU ms", "first answer, ms", "CPU ms", "second answer, ms")
    print(f"| {' | '.join(columns)} |\n| --- |{' ---: |' * len(Times._fields)}")
    for case, several in found.items():
        medians = [statistics.median(column) for column in zip(*several, strict=True)]
        print(f"| {case} | {' | '.join(f'{median:.0f}' for median in medians)} |")


def imports(compiled: Path) -> None:
    """Print what a start is made of, in CPU time, with bytecode."""
    environ = {**os.environ, "AUDIT_SINKS": "memory:", "AUDIT_TOKENS": str(_HASH)}
    command: list[str | Path] = [sys.executable, "-B", "-c", _STEPS, compiled, *_IMPORTS.values()]
    runs = []
    for _ in range(_STARTS):
        printed = subprocess.run(command, env=environ, check=True, stdout=subprocess.PIPE, text=True).stdout
        runs.append([float(line) for line in printed.split()])
    print("\n| what is imported or made | CPU ms |\n| --- | ---: |")
    for name, several in zip(_IMPORTS, zip(*runs, strict=True), strict=True):
        print(f"| {name} | {statistics.median(several):.0f} |")


def main() -> None:
    """Print both tables."""
    with tempfile.TemporaryDirectory(prefix="auditsplit-bench-") as name, s3_server(name) as url:
        folder = Path(name)
        compiled = unpacked(folder, "compiled", "--compiler", sys.executable)
        starts(folder, unpacked(folder, "source"), compiled, object_places.s3_url(url, "bench"))
        imports(compiled)


if __name__ == "__main__":
    main()
