"""``auditsplit policy init``: write an audit policy to start with."""

from __future__ import annotations

from pathlib import Path

import click

from auditsplit.atomic import atomic_write
from auditsplit.cli.support.contract import Group, example, reason
from auditsplit.cli.support.environment import refuse
from auditsplit.policy.profiles import PROFILES, profile

_MODE = 0o644


@click.group(cls=Group, epilog=example("auditsplit policy init --output policy.yaml"))
def policy() -> None:
    """Write audit policies, which decide what kube-apiserver records, and how much of it."""


@policy.command(
    epilog="\b\nProfiles:\n"
    + "\n".join(f"  {name:12}{description}" for name, description in PROFILES.items())
    + "\n\n"
    + example("auditsplit policy init --profile recommended --output policy.yaml")
)
@click.option(
    "--profile",
    "name",
    type=click.Choice([*PROFILES]),
    default="recommended",
    show_default=True,
    help="The profile to write.",
)
@click.option(
    "--output", default="-", show_default=True, metavar="FILE", help="The file to write. - is standard output."
)
@click.option("--force", is_flag=True, help="Replace an existing file.")
@click.option("--dry-run", is_flag=True, help="Only report what would be written.")
def init(name: str, output: str, *, force: bool, dry_run: bool) -> None:
    """Write a policy to start with, for kube-apiserver's --audit-policy-file.

    All profiles record secrets and tokens at Metadata only. Read the comments in the policy, and change it to fit.
    """
    text = profile(name)
    if output == "-":
        click.echo(text, nl=False)
        return
    if Path(output).exists() and not force:
        refuse([f"{output} exists. Write --force to replace it, or another --output"])
    if dry_run:
        click.echo(f"would write {len(text.encode())} bytes, the profile {name}, to {output}", err=True)
        return
    try:
        atomic_write(Path(output), text.encode(), mode=_MODE, overwrite=force)
    except OSError as error:
        refuse([f"{output}: {reason(error)}"])
    click.echo(f"{output}: the profile {name}. Give it to kube-apiserver as --audit-policy-file", err=True)
