"""Read a policy that a command was given. If kube-apiserver would refuse it, print why and exit with 2."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from auditsplit.cli.support.contract import MISUSE
from auditsplit.policy.load import Loaded, load
from auditsplit.policy.rules import Policy

FILE = click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path)
"""The type of an argument that names a policy."""


def read(path: Path) -> Loaded:
    """Return what the file at ``path`` holds. Exit with 2 if it cannot be read."""
    try:
        text = sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
    except OSError as error:
        raise click.UsageError(f"{path}: {error.strerror}") from error
    return load(text)


def valid(path: Path) -> tuple[Policy, Loaded]:
    """Return the policy in the file at ``path``, and all that `read` found."""
    loaded = read(path)
    if loaded.policy is None:
        for problem in loaded.refused:
            click.echo(f"error: {problem.text(str(path))}", err=True)
        sys.exit(MISUSE)
    return loaded.policy, loaded


def rule_name(loaded: Loaded, rule: int | None) -> str:
    """Return how tables name a rule: its index and line."""
    if rule is None:
        return "no rule"
    position = loaded.positions.get(f"rules[{rule}]")
    return f"rules[{rule}]" + (f", line {position.line}" if position and position.line else "")
