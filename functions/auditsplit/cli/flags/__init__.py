"""``auditsplit flags``: kube-apiserver's audit flags for a load, and faults of flags that exist."""

from __future__ import annotations

import click

from auditsplit.cli.flags.check import check
from auditsplit.cli.flags.size import size
from auditsplit.cli.support.contract import Group, example


class _SizeByDefault(Group):
    """A group that reads options before any command as those of ``size``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in {*self.commands, *self.get_help_option_names(ctx)}:
            args = ["size", *args]
        return super().parse_args(ctx, args)


_EXAMPLES = example(
    "auditsplit flags --rate 200 --event-size 2kB --platform lambda",
    "auditsplit flags --rate 200 --platform cloud-run --format kubeadm --merge cluster.yaml > merged.yaml",
    "auditsplit flags check /etc/kubernetes/manifests/kube-apiserver.yaml --platform cloud-run",
)


@click.group(cls=_SizeByDefault, epilog=_EXAMPLES)
def flags() -> None:
    """Print kube-apiserver's audit webhook flags for a load, and check flags that exist.

    'auditsplit flags --rate 200 …' is short for 'auditsplit flags size --rate 200 …'. 'auditsplit flags size --help'
    lists the options.
    """


for command in (
    check,
    size,
):
    flags.add_command(command)
