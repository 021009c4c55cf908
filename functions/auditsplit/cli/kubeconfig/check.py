"""``auditsplit kubeconfig check``: report a kubeconfig's faults, and probe its server."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from auditsplit.apiserver import probe, rules
from auditsplit.apiserver.kubeconfig.schema import Kubeconfig
from auditsplit.cli.support import findings
from auditsplit.cli.support.environment import refuse
from auditsplit.cli.support.quantity import FiniteRange
from auditsplit.webhook.client import Unreachable


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--probe",
    "probes",
    is_flag=True,
    help="Also post an empty list to the server as kube-apiserver would. Runs an exec program.",
)
@click.option(
    "--timeout",
    "timeout_s",
    default=30.0,
    show_default=True,
    type=FiniteRange(0.1, 600),
    help="Seconds to wait for the probe's answer.",
)
def check(file: Path, *, probes: bool, timeout_s: float) -> None:
    """Report what kube-apiserver would get wrong with FILE.

    Exits with 1 if there is an error. Warnings alone exit with 0. The probe stores no event. Run it on the apiserver's
    machine, because names and trusted CAs differ elsewhere.
    """
    try:
        document, faults = rules.read(file)
    except (OSError, ValueError) as error:
        refuse([f"{file}: {error}"])
    if findings.report(faults):
        sys.exit(1)
    click.echo(f"{file}: posts to {document.cluster.server} with {_credentials_in(document)}")
    if probes:
        sys.exit(_probe(document, file.parent, timeout_s))


def _probe(document: Kubeconfig, folder: Path, timeout_s: float) -> int:
    """Probe the server and report the answer. Return the exit code."""
    try:
        reply = probe.probe(document, folder, timeout_s)
    except Unreachable as error:
        click.echo(f"error: probe: {error}", err=True)
        return 1
    failed = findings.report(probe.findings(reply.answer))
    cluster = f", as the cluster {reply.answer.cluster}" if reply.answer.cluster else ""
    over = f" over {reply.tls}" if reply.tls else ""
    took = f"{reply.total_s:.3f} s, {reply.connect_s:.3f} s of it to connect"
    click.echo(f"probe: {reply.answer.status}{over} in {took}{cluster}")
    return 1 if failed else 0


def _credentials_in(document: Kubeconfig) -> str:
    """Return the kinds of credentials in the kubeconfig, in words."""
    user = document.user
    kinds = {
        "a token": user.token,
        "a token from a file": user.token_file,
        "a username": user.username,
        "a client certificate": user.has_certificate,
        "a program's credentials": user.exec,
    }
    return " and ".join(name for name, given in kinds.items() if given) or "no credentials"
