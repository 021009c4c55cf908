"""The command line, as a cluster's administrator runs it: kubeconfigs, flags and policies."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from support.environment import plain_environment

_PROGRAM = Path(sys.executable).parent / "auditsplit"


class Said(NamedTuple):
    """What a command printed."""

    code: int
    out: str
    talk: str


def auditsplit(*arguments: str | Path, expected: int = 0, **settings: str) -> Said:
    """Run ``auditsplit`` with ``AUDIT_*`` settings; a failure where it exits with another code than ``expected``."""
    environ = plain_environment() | settings
    ran = subprocess.run([_PROGRAM, *map(str, arguments)], capture_output=True, text=True, check=False, env=environ)
    if ran.returncode != expected:
        raise AssertionError(f"auditsplit {arguments}: exit {ran.returncode}: {ran.stderr}")
    return Said(ran.returncode, ran.stdout, ran.stderr)


def kubeconfig(path: Path, cluster: str, server: str, ca: Path, *options: str | Path) -> str:
    """Write a kubeconfig to ``path``; return the ``AUDIT_TOKENS`` that lets its token in, or an empty text."""
    said = auditsplit("kubeconfig", cluster, "--server", server, "--ca-file", ca, "--output", path, *options)
    return tokens_in(said.out)


def tokens_in(text: str) -> str:
    """Return the ``AUDIT_TOKENS`` that a command printed; an empty text where it printed none."""
    found = re.search(r"^AUDIT_TOKENS='([^']*)'$", text, re.MULTILINE)
    return found[1] if found else ""


def flags(*options: str | Path) -> Sequence[str]:
    """Return the flags for a load on this machine, without the files that the apiserver gets anyway."""
    said = auditsplit("flags", "--platform", "local", "--config", "/none", "--policy", "/none", *options)
    return [line for line in said.out.split() if not line.endswith("=/none")]


def policy(path: Path, profile: str) -> Path:
    """Write the policy of a profile to ``path``; return it."""
    auditsplit("policy", "init", "--profile", profile, "--output", path)
    return path
