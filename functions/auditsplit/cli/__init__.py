"""The command line: input and output only. Results go to standard output, messages to standard error.

Each command has a module here and is registered at the end of this one. ``support`` holds what commands share.
"""

from __future__ import annotations

import click

from auditsplit import __version__
from auditsplit.cli.check import check
from auditsplit.cli.compact import compact
from auditsplit.cli.completeness import completeness
from auditsplit.cli.elasticsearch import elasticsearch
from auditsplit.cli.find import find
from auditsplit.cli.flags import flags
from auditsplit.cli.kubeconfig import kubeconfig
from auditsplit.cli.policy import policy
from auditsplit.cli.serve import serve
from auditsplit.cli.ship import ship
from auditsplit.cli.split import split
from auditsplit.cli.support.contract import CONTRACT, Program
from auditsplit.cli.token import token
from auditsplit.telemetry import logs


@click.group(
    cls=Program,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80},
    epilog=CONTRACT,
)
@click.version_option(__version__, prog_name="auditsplit")
def main() -> None:
    """Split Kubernetes audit EventLists into every user's own files.

    The environment has the settings, above all AUDIT_SINKS, the sinks' URLs. Without it, files go below ./var/log.
    """
    logs.configure()


for command in (
    check,
    compact,
    completeness,
    elasticsearch,
    find,
    flags,
    kubeconfig,
    policy,
    serve,
    ship,
    split,
    token,
):
    main.add_command(command)
