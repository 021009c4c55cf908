"""``auditsplit kubeconfig check``: report a kubeconfig's faults, and probe its server."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, NamedTuple

import click

from auditsplit.apiserver import probe
from auditsplit.cli.support import findings
from auditsplit.cli.support.contract import FINDINGS, example, output_option, print_json, reason
from auditsplit.cli.support.environment import refuse
from auditsplit.cli.support.quantity import FiniteRange
from auditsplit.webhook import rules
from auditsplit.webhook.failures import Unreachable
from auditsplit.webhook.kubeconfig.schema import Kubeconfig


@click.command(epilog=example("auditsplit kubeconfig check kubeconfigs/prod.yaml --probe"))
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
@output_option
def check(file: Path, *, probes: bool, timeout_s: float, as_json: bool) -> None:
    """Report what kube-apiserver would get wrong with FILE.

    Exits with 1 if there is an error. Warnings alone exit with 0. The probe stores no event. Run it on the apiserver's
    machine, because names and trusted CAs differ elsewhere.
    """
    try:
        document, faults = rules.read(file)
    except (OSError, ValueError) as error:
        refuse([f"{file}: {reason(error)}"])
    failed = findings.report(faults)
    results: dict[str, Any] = {"findings": [fault._asdict() for fault in faults]}
    if not failed:
        results |= {"server": document.cluster.server, "credentials": _credentials_in(document)}
        if not as_json:
            click.echo(f"{file}: posts to {results['server']} with {results['credentials']}")
        if probes:
            answer = _probe(document, file.parent, timeout_s)
            failed = answer is None or answer.failed
            results["probe"] = answer and {"status": answer.status, "cluster": answer.cluster}
            if answer and not as_json:
                click.echo(answer.sentence)
    if as_json:
        print_json(results)
    sys.exit(FINDINGS if failed else 0)


class _Probed(NamedTuple):
    status: int
    cluster: str
    failed: bool
    sentence: str


def _probe(document: Kubeconfig, folder: Path, timeout_s: float) -> _Probed | None:
    """Probe the server, report what is wrong, and return the answer, or None if there was none."""
    try:
        reply = probe.probe(document, folder, timeout_s)
    except Unreachable as error:
        click.echo(f"error: probe: {error}", err=True)
        return None
    failed = findings.report(probe.findings(reply.answer))
    cluster = f", as the cluster {reply.answer.cluster}" if reply.answer.cluster else ""
    over = f" over {reply.tls}" if reply.tls else ""
    took = f"{reply.total_s:.3f} s, {reply.connect_s:.3f} s of it to connect"
    sentence = f"probe: {reply.answer.status}{over} in {took}{cluster}"
    return _Probed(int(reply.answer.status), reply.answer.cluster or "", failed, sentence)


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
