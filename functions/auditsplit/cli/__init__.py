"""The command line: input and output only. Results go to standard output, talk to standard error.

A command is a module here, and a line at the end of this one.
"""

from __future__ import annotations

import click

from auditsplit.cli import completeness
from auditsplit.cli.elasticsearch import elasticsearch
from auditsplit.cli.flags import flags
from auditsplit.cli.kubeconfig import kubeconfig
from auditsplit.cli.policy import policy
from auditsplit.cli.receiver import check, token
from auditsplit.cli.split import split
from auditsplit.telemetry import logs


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="auditsplit")
def main() -> None:
    """Split Kubernetes audit EventLists into every user's own files.

    The stores and all else are set in the environment, AUDIT_SINKS first; without it, files go below ./var/log.
    """
    logs.configure()


for command in (
    check,
    completeness.command,
    elasticsearch,
    flags,
    kubeconfig,
    policy,
    split,
    token,
):
    main.add_command(command)
