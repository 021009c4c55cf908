"""``auditsplit kubeconfig``: what kube-apiserver's ``--audit-webhook-config-file`` names; here, its check."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from auditsplit.apiserver import probe, rules
from auditsplit.apiserver.kubeconfig.schema import Kubeconfig
from auditsplit.cli.environment import refuse
from auditsplit.cli.findings import tell
from auditsplit.cli.kubeconfig_files import create, from_list


class _CreateByDefault(click.Group):
    """A first word that is no command is a cluster: ``kubeconfig prod`` is ``kubeconfig create prod``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in {*self.commands, *self.get_help_option_names(ctx)}:
            args = ["create", *args]
        return super().parse_args(ctx, args)


@click.group(cls=_CreateByDefault)
def kubeconfig() -> None:
    """Write and check kubeconfigs for kube-apiserver's audit webhook.

    'auditsplit kubeconfig prod --server https://audit.example.com' is short for 'auditsplit kubeconfig create prod …';
    write create for a cluster that is called check, create or from-list.
    """


@kubeconfig.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--probe", "probes", is_flag=True, help="Post an empty list as kube-apiserver would; runs an exec program too."
)
@click.option(
    "--timeout",
    "timeout_s",
    default=30.0,
    show_default=True,
    type=click.FloatRange(0.1, 600),
    help="Seconds that the probe waits.",
)
def check(file: Path, *, probes: bool, timeout_s: float) -> None:
    """Say what kube-apiserver would get wrong with FILE.

    Exits with 1 where there is an error; warnings alone leave 0. Nothing is stored by --probe. It has to run where the
    apiserver does, to mean something of names and trust.
    """
    try:
        document, findings = rules.read(file)
    except (OSError, ValueError) as error:
        refuse([f"{file}: {error}"])
    if tell(findings):
        sys.exit(1)
    click.echo(f"{file}: posts to {document.cluster.server} with {_shown(document)}")
    if not probes:
        return
    try:
        reached = probe.probe(document, file.parent, timeout_s)
    except probe.Unreachable as error:
        click.echo(f"error: probe: {error}", err=True)
        sys.exit(1)
    failed = tell(reached.answer.findings())
    cluster = f", as the cluster {reached.answer.cluster}" if reached.answer.cluster else ""
    over = f" over {reached.tls}" if reached.tls else ""
    took = f"{reached.total_s:.3f} s, {reached.connect_s:.3f} s of it to connect"
    click.echo(f"probe: {reached.answer.status}{over} in {took}{cluster}")
    sys.exit(1 if failed else 0)


def _shown(document: Kubeconfig) -> str:
    """Return what kinds of credentials it has."""
    user = document.user
    kinds = {
        "a token": user.token,
        "a token from a file": user.token_file,
        "a user name": user.username,
        "a client certificate": user.has_certificate,
        "what a program prints": user.exec,
    }
    return " and ".join(name for name, given in kinds.items() if given) or "no credentials"


kubeconfig.add_command(create)
kubeconfig.add_command(from_list)
