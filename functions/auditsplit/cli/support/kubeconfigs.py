"""Write kubeconfigs, and report tokens that the function would not accept yet."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import click

from auditsplit.apiserver.kubeconfig.entry import Entry
from auditsplit.auth import TokenHash
from auditsplit.cli.support.contract import reason
from auditsplit.webhook.kubeconfig import files

FOLDER = Path("kubeconfigs")
"""Where kubeconfigs are written by default."""


def write(path: Path, text: str, *, overwrite: bool) -> None:
    """Write a kubeconfig to ``path``, or to standard output if that is ``-``. Exit with 1 if that fails."""
    if str(path) == "-":
        click.echo(text, nl=False)
        return
    try:
        files.write(path, text, overwrite=overwrite)
    except OSError as error:
        raise click.ClickException(f"{path}: {reason(error)}. The file was not written") from error
    click.echo(f"{path}: written, mode 0600", err=True)


def report_unlisted(entry: Entry, known: Iterable[TokenHash]) -> None:
    """Report if a file or program brings the cluster's token, and ``known`` has no hash for the cluster."""
    source = entry.token_file or entry.exec_command
    if source and entry.name not in {token.cluster for token in known}:
        click.echo(
            f"{entry.name}: the function accepts no token from {source} yet. 'auditsplit token {entry.name}' makes a "
            "token and prints the setting that accepts it",
            err=True,
        )
