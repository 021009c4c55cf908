"""``auditsplit policy init``: an audit policy to start with."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import click

from auditsplit.policy.profiles import PROFILES, profile


@click.group()
def policy() -> None:
    """Write audit policies: what kube-apiserver records, and how much of it."""


@policy.command(epilog="\b\nProfiles:\n" + "\n".join(f"  {name:12} {what}" for name, what in PROFILES.items()))
@click.option("--profile", "name", type=click.Choice([*PROFILES]), default="recommended", show_default=True)
@click.option(
    "--output", default="-", show_default=True, metavar="FILE", help="The file to write; - is standard output."
)
@click.option("--force", is_flag=True, help="Replace a file that is there.")
@click.option("--dry-run", is_flag=True, help="Only say what would be written.")
def init(name: str, output: str, *, force: bool, dry_run: bool) -> None:
    """Write a policy to start with, for kube-apiserver's --audit-policy-file.

    All profiles record secrets and tokens at Metadata only. Read the comments, and change it to your needs.
    """
    text = profile(name)
    if output == "-":
        click.echo(text, nl=False)
        return
    if Path(output).exists() and not force:
        raise click.ClickException(f"{output} is there already; write --force to replace it, or another --output")
    if dry_run:
        click.echo(f"would write {len(text.encode())} bytes, the profile {name}, to {output}", err=True)
        return
    try:
        _write(Path(output), text, force=force)
    except OSError as error:
        raise click.ClickException(f"{output}: {error.strerror or error}") from error
    click.echo(f"{output}: the profile {name}; give it to kube-apiserver as --audit-policy-file", err=True)


def _write(path: Path, text: str, *, force: bool) -> None:
    """Write the whole file or nothing; without ``force``, never over another."""
    with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=".policy-") as draft:
        draft.write(text)
        draft.flush()
        os.fchmod(draft.fileno(), 0o644)
        os.fsync(draft.fileno())
        if not force:
            path.hardlink_to(draft.name)
            return
        second = Path(f"{draft.name}.new")
        second.hardlink_to(draft.name)
        try:
            second.replace(path)
        finally:
            second.unlink(missing_ok=True)
