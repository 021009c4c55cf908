"""``auditsplit serve`` as a process."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.environment import plain_environment
from support.processes import kill

PROGRAM = Path(sys.executable).with_name("auditsplit")


@contextmanager
def serving(
    folder: Path, *options: str | Path, program: Path = PROGRAM
) -> Iterator[tuple[subprocess.Popen[bytes], str, int]]:
    """Run the command in ``folder`` on a free port. Yield the process, the first message of its log, and the port."""
    command: list[str | Path] = [program, "serve", "--port", "0", "--threads", "2", *options]
    process = subprocess.Popen(command, cwd=folder, env=plain_environment(), stderr=subprocess.PIPE)
    assert process.stderr
    try:
        message = json.loads(process.stderr.readline())["message"]
        yield process, message, int(re.findall(r":(\d+)/$", message)[0])
    finally:
        kill(process)
        process.stderr.close()
