"""``auditsplit policy``: write, check, explain and try audit policies."""

from __future__ import annotations

import click

from auditsplit.cli.policy.check import check
from auditsplit.cli.policy.explain import explain
from auditsplit.cli.policy.init import init
from auditsplit.cli.policy.trial import trial
from auditsplit.cli.support.contract import Group, example


@click.group(cls=Group, epilog=example("auditsplit policy init --output policy.yaml"))
def policy() -> None:
    """Write, check, explain and try audit policies.

    A policy decides what kube-apiserver records, and how much of it.
    """


for command in (check, explain, init, trial):
    policy.add_command(command)
