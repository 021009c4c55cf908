"""A shipper in a process of its own, which can be killed and started again."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from support.processes import kill, spawn, terminate

_PROGRAM = Path(sys.executable).parent / "auditsplit"


class Shipping:
    """``auditsplit ship`` with a checkpoint below ``folder``."""

    def __init__(self, folder: Path, *arguments: str | Path, **environ: str) -> None:
        """Keep the arguments and settings; nothing runs yet."""
        folder.mkdir(exist_ok=True)
        self.checkpoint, self.log = folder / "checkpoint.json", folder / "shipper.log"
        self._arguments = ["ship", *arguments, "--checkpoint", self.checkpoint, "--batch-max-wait", "100ms"]
        self._arguments += ["--initial-backoff", "100ms"]
        self._environ = environ
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it. It may not be at work yet."""
        self._process = spawn([_PROGRAM, *self._arguments], self.log, self._environ)

    def kill(self) -> None:
        """End it with SIGKILL."""
        if self._process is not None:
            kill(self._process)

    def stop(self) -> None:
        """End it with SIGTERM."""
        if self._process is not None and self._process.poll() is None:
            terminate(self._process, 40)

    def finish(self) -> None:
        """Ship what is left, and return once all is delivered."""
        self.stop()
        self._arguments.append("--once")
        self.start()
        if self._process is None or self._process.wait(120) != 0:
            raise AssertionError(f"the shipper failed: {self.log.read_text()[-4000:]}")
