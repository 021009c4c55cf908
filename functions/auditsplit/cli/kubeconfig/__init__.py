"""``auditsplit kubeconfig``: write and check the kubeconfigs that ``--audit-webhook-config-file`` names."""

from __future__ import annotations

import click

from auditsplit.cli.kubeconfig.check import check
from auditsplit.cli.kubeconfig.create import create
from auditsplit.cli.kubeconfig.from_list import from_list
from auditsplit.cli.support.contract import Group, example, nearest


class _CreateByDefault(Group):
    """A group that reads a first word which is not a command as a cluster to ``create``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in {*self.commands, *self.get_help_option_names(ctx)}:
            known = sorted(self.commands)
            if (near := nearest(args[0], known)) and not self._names_a_cluster(args):
                raise click.UsageError(f"there is no command {args[0]!r}. Did you mean {near}?", ctx)
            args = ["create", *args]
        return super().parse_args(ctx, args)

    def _names_a_cluster(self, args: list[str]) -> bool:
        """Return whether the first word is meant as a cluster: ``create`` requires --server, other commands don't."""
        return any(word.partition("=")[0] == "--server" for word in args)


@click.group(cls=_CreateByDefault, epilog=example("auditsplit kubeconfig prod --server https://audit.example.com"))
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
