"""malloc: what a request frees, the next one has without asking the kernel."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import pytest
from support.environment import plain_environment

_FAULTS = """
import resource, sys
from auditsplit.serve import process
if sys.argv[1] == "kept" and not process.keep_freed():
    sys.exit("malloc did not take the settings")
faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for count in range(60):
    if count == 10:
        before = faults()
    blocks = [b"x" * size for size in (900_000, 1_000_000, 2_000_000)]
    del blocks
print(faults() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have no mallopt")
def test_what_is_freed_is_had_again_without_page_faults() -> None:
    """50 times 4 MB take no page anew; without the settings, each of them does."""
    kept, given_back = (
        int(subprocess.run([sys.executable, "-c", _FAULTS, how], check=True, capture_output=True, text=True).stdout)
        for how in ("kept", "given back")
    )

    assert kept < 1_000
    assert given_back > 10 * kept + 10_000


@pytest.mark.parametrize("given", [False, True])
def test_only_a_folder_of_our_own_for_metrics_is_removed(tmp_path: Path, *, given: bool) -> None:
    """A deployer may share PROMETHEUS_MULTIPROC_DIR with other programs."""
    environ = plain_environment() | ({"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)} if given else {})
    program = (
        "import os; from auditsplit.telemetry import metrics; metrics.forget();"
        "print(os.path.isdir(os.environ['PROMETHEUS_MULTIPROC_DIR']))"
    )

    done = subprocess.run([sys.executable, "-c", program], env=environ, capture_output=True, text=True, check=True)

    assert done.stdout == f"{given}\n"
