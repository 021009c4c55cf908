"""``auditsplit check``: check the settings, the sinks, and whether a kubeconfig's sender is accepted."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from auditsplit.apiserver import rules
from auditsplit.apiserver.kubeconfig import acceptance
from auditsplit.cli.support import findings
from auditsplit.cli.support.environment import open_ingest, read_settings, refuse
from auditsplit.deadline import REQUEST_S, Deadline
from auditsplit.errors import SenderError, SinkError
from auditsplit.settings import Settings
from auditsplit.sinks import Sink

_FILE = click.Path(path_type=Path)
_IMPERSONATED = (
    "AUDIT_USER=impersonated: kube-apiserver has not read the impersonated user at the stage RequestReceived. Where "
    "the policy records this stage, the stages of a request are in two users' files. Write omitStages: "
    "[RequestReceived] into the policy"
)


@click.command()
@click.option(
    "--kubeconfig", type=_FILE, help="Also report whether the sender with this webhook kubeconfig would be accepted."
)
@click.option("--cluster", help="The cluster that the kubeconfig's sender must be accepted as.")
def check(kubeconfig: Path | None, cluster: str | None) -> None:
    """Check the settings and the sinks without serving.

    Exits with 2 if a setting is wrong. Exits with 1 if a sink would not accept events now, or the kubeconfig's sender
    would be refused.
    """
    if cluster and not kubeconfig:
        raise click.UsageError("--cluster requires --kubeconfig")
    settings = read_settings()
    failed = [sink for sink in open_ingest(settings).sinks if not _accepts(sink)]
    click.echo(f"senders: {_senders(settings)}")
    click.echo(f"redacted: {settings.redaction}")
    policies = {"policy": settings.policy, **{f"policy for {each.url}": each.options.policy for each in settings.sinks}}
    for name, policy in policies.items():
        if policy:
            click.echo(f"{name}: {policy}, {len(policy.policy.rules)} rules")
    if any(target.user == "impersonated" for target in settings.sinks):
        click.echo(_IMPERSONATED, err=True)
    refused = kubeconfig and not _accepted(kubeconfig, cluster, settings)
    sys.exit(1 if failed or refused else 0)


def _senders(settings: Settings) -> str:
    clusters = sorted({token.cluster for token in settings.tokens})
    return f"the clusters {', '.join(clusters)}, by token" if clusters else "anyone on this machine, without a token"


def _accepts(sink: Sink) -> bool:
    """Report and return whether the sink would accept events now."""
    try:
        sink.check(Deadline.after(REQUEST_S))
    except SinkError as error:
        click.echo(f"{sink.name}: {error}", err=True)
        return False
    click.echo(f"{sink.name}: accepts events")
    return True


def _accepted(path: Path, expected: str | None, settings: Settings) -> bool:
    """Report and return whether the settings accept the kubeconfig's sender, as the ``expected`` cluster if given."""
    try:
        document, faults = rules.read(path)
    except (OSError, ValueError) as error:
        refuse([f"{path}: {error}"])
    if findings.report(faults, f"{path}: "):
        return False
    try:
        cluster = acceptance.cluster_of(document, path.parent, settings)
    except (SenderError, ValueError) as error:
        click.echo(f"{path}: refused: {error}", err=True)
        return False
    if expected not in (None, cluster):
        click.echo(f"{path}: accepted as the cluster {cluster!r}, not {expected!r}", err=True)
        return False
    click.echo(f"{path}: accepted as the cluster {cluster}")
    return True
