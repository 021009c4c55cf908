"""``auditsplit policy init``: write an audit policy to start with, perhaps with rules for a recording's noise."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from auditsplit.atomic import atomic_write
from auditsplit.cli.support.contract import example, reason
from auditsplit.cli.support.environment import refuse
from auditsplit.cli.support.recordings import EVENTS, Recordings
from auditsplit.errors import Undecodable
from auditsplit.policy import noise_text
from auditsplit.policy.explanation import Explained, explained
from auditsplit.policy.load import load
from auditsplit.policy.noise import proposals
from auditsplit.policy.profiles import PROFILES, profile

_MODE = 0o644


_EXAMPLE = example("auditsplit policy init --output policy.yaml", "auditsplit policy init --from audit.log")


@click.command(
    epilog="\b\nProfiles:\n"
    + "\n".join(f"  {name:12}{description}" for name, description in PROFILES.items())
    + "\n\n"
    + _EXAMPLE
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
@click.option(
    "--from",
    "events",
    metavar="EVENTS",
    multiple=True,
    type=EVENTS,
    help="Propose rules for the most frequent requests in this recording, before the last rule of the profile.",
)
@click.option("--force", is_flag=True, help="Replace an existing file.")
@click.option("--dry-run", is_flag=True, help="Only report what would be written.")
def init(name: str, output: str, events: tuple[Path, ...], *, force: bool, dry_run: bool) -> None:
    """Write a policy to start with, for kube-apiserver's --audit-policy-file.

    All profiles record secrets and tokens at Metadata only. Read the comments in the policy, and change it to fit.

    With --from, the command proposes rules that drop the routine requests of the cluster's own components, each with
    what it saves. It proposes none for people, secrets or permissions. EVENTS are EventLists or audit logs.
    """
    text = profile(name)
    if events:
        text = _with_proposals(text, events)
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


def _with_proposals(text: str, events: tuple[Path, ...]) -> str:
    """Return the profile ``text`` with rules for the noise of a recording before its last rule."""
    policy = load(text.encode()).policy
    if policy is None:
        raise click.ClickException("this profile is not valid. Please report it")
    recordings = Recordings(events)
    total_bytes = 0

    def rest() -> Iterator[Explained]:  # one after the other, because a recording may be larger than the memory
        nonlocal total_bytes
        for each in explained(recordings.events(), policy):
            if not isinstance(each, Undecodable) and each.decision.rule == len(policy.rules) - 1:
                total_bytes += len(each.event.raw) + 1
                yield each

    found = proposals(rest())
    recordings.report()
    click.echo(f"{len(found)} rules proposed for what the last rule of the profile would record", err=True)
    return noise_text.inserted(text, found, total_bytes)
