"""Find beside ``grep``, ``jq`` and a Go program around kube-apiserver's types: MB a CPU second over a log of 1 GB.

The log has the recorded events, of 2.2 kB on average, and one event in ten thousand is of the user who is looked for.
All programs read the same file and take turns. The file is in the page cache. ``grep`` only looks for the text of the
user's name, and does not decode. ``jq`` gets a twentieth of the log.
"""

from __future__ import annotations

import json
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # so that it runs as a script, from anywhere

from benchmarks import workload

_GB = 10**9
_ROUNDS = 3
_EVENTS = 10_000  # in a block, of which one is the user's
_USER = "mallory"
_TARGET_MB = 400
_JQ_SHARE = 20
_LINE_START = b'{"kind":"Event","apiVersion":"audit.k8s.io/v1",'
_PROGRAM = Path(sys.executable).with_name("auditsplit")
_JUDGE = Path(__file__).parents[1] / ".cache" / "bin" / "find-judge"


def write_log(log: Path, size: int) -> int:
    """Write a log of ``size`` bytes or a little more. Return the number of the user's events."""
    lines = [_LINE_START + item[1:] + b"\n" for item in workload.mixed(_EVENTS)]
    event = {
        "kind": "Event",
        "apiVersion": "audit.k8s.io/v1",
        "auditID": "#",
        "stage": "ResponseComplete",
        "verb": "get",
        "user": {"username": _USER},
    }
    block, blocks = b"".join(lines), 0
    with log.open("wb") as out:
        while out.tell() < size:
            out.write(block)
            out.write(json.dumps(event | {"auditID": str(blocks)}, separators=(",", ":")).encode() + b"\n")
            blocks += 1
    return blocks


def cpu_s(command: list[str], text: str) -> tuple[float, bytes]:
    """Return the CPU seconds that a command takes, and its output."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, input=text.encode(), capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime, done.stdout


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as folder:
        log, part = Path(folder) / "audit.log", Path(folder) / "part.log"
        expected = write_log(log, _GB)
        write_log(part, _GB // _JQ_SHARE)
        question = json.dumps([{"users": [_USER]}])
        commands: Mapping[str, tuple[list[str], str, Path]] = {
            "auditsplit find": ([str(_PROGRAM), "find", "--user", _USER, "--output", "lines", str(log)], "", log),
            "grep -F": (["grep", "-F", f'"{_USER}"', str(log)], "", log),
            "Go, kube-apiserver's types": ([str(_JUDGE)], f"{question}\n{log}", log),
            **(
                {"jq": (["jq", "-c", f'select(.user.username == "{_USER}")', str(part)], "", part)}
                if shutil.which("jq")
                else {}
            ),
        }
        speeds: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(_ROUNDS):
            for name, (command, text, path) in commands.items():
                seconds, output = cpu_s(command, text)
                if path == log and output.count(b"\n") != expected:
                    raise SystemExit(f"{name} found another number of events than {expected}")
                speeds[name].append(path.stat().st_size / seconds / 1e6)
    medians = {name: statistics.median(of) for name, of in speeds.items()}
    ours = medians["auditsplit find"]
    print(f"{expected} of {expected * (_EVENTS + 1):,} events are found\n")
    print("| way | MB a CPU second | ratio |\n| --- | ---: | ---: |")
    for name, speed in medians.items():
        print(f"| {name} | {speed:,.0f} | {speed / ours:.3f} |")
    print(f"\ntarget: {_TARGET_MB} MB a CPU second: {'met' if ours >= _TARGET_MB else 'missed'}")


if __name__ == "__main__":
    main()
