"""``auditsplit kubeconfig``: write and check the kubeconfigs that ``--audit-webhook-config-file`` names."""

from __future__ import annotations

import click

from auditsplit.cli.kubeconfig.check import check
from auditsplit.cli.kubeconfig.create import create
from auditsplit.cli.kubeconfig.from_list import from_list


class _CreateByDefault(click.Group):
    """A group that reads a first word which is not a command as a cluster to ``create``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in {*self.commands, *self.get_help_option_names(ctx)}:
            args = ["create", *args]
        return super().parse_args(ctx, args)


@click.group(cls=_CreateByDefault)
def kubeconfig() -> None:
    """Write and check kubeconfigs for kube-apiserver's audit webhook.

    'auditsplit kubeconfig prod --server https://audit.example.com' is short for 'auditsplit kubeconfig create prod …'.
    For a cluster that is called check, create or from-list, write create.
    """


for command in (
    check,
    create,
    from_list,
):
    kubeconfig.add_command(command)
