"""``auditsplit check`` and ``token``: what the receiver would take, and from whom."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from auditsplit import auth
from auditsplit.apiserver import rules
from auditsplit.apiserver.kubeconfig import acceptance
from auditsplit.cli.environment import known_tokens, open_ingest, read_settings, refuse, tokens_setting
from auditsplit.cli.findings import tell
from auditsplit.deadline import REQUEST_S, Deadline
from auditsplit.errors import SenderError, SinkError
from auditsplit.settings import Settings

_FILE = click.Path(path_type=Path)


@click.command()
@click.option(
    "--kubeconfig", type=_FILE, help="Say too whether this webhook's kubeconfig would be let in, and as which cluster."
)
@click.option("--cluster", help="The cluster that the kubeconfig has to come in as.")
def check(kubeconfig: Path | None, cluster: str | None) -> None:
    """Check the settings and the stores without serving.

    Exits with 2 where a setting is wrong, with 1 where a store would not take events now, or the kubeconfig's sender
    would not be let in.
    """
    if cluster and not kubeconfig:
        raise click.UsageError("--cluster wants --kubeconfig")
    settings = read_settings()
    failed = False
    for sink in open_ingest(settings).sinks:
        try:
            sink.check(Deadline.after(REQUEST_S))
            click.echo(f"{sink.name}: takes events")
        except SinkError as error:
            failed = True
            click.echo(f"{sink.name}: {error}", err=True)
    clusters = sorted({token.cluster for token in settings.tokens})
    senders = f"the clusters {', '.join(clusters)}, by token" if clusters else "anyone on this machine, without a token"
    click.echo(f"senders: {senders}")
    click.echo(f"dropped: {settings.redaction}")
    if kubeconfig:
        failed = not _lets_in(kubeconfig, cluster, settings) or failed
    sys.exit(1 if failed else 0)


def _lets_in(path: Path, expected: str | None, settings: Settings) -> bool:
    """Say whether the settings let in what the kubeconfig shows, as the ``expected`` cluster where one is."""
    try:
        document, findings = rules.read(path)
    except (OSError, ValueError) as error:
        refuse([f"{path}: {error}"])
    if tell(findings, f"{path}: "):
        return False
    try:
        cluster = acceptance.cluster_of(document, path.parent, settings)
    except (SenderError, ValueError) as error:
        click.echo(f"{path}: not let in: {error}", err=True)
        return False
    if expected not in (None, cluster):
        click.echo(f"{path}: let in as the cluster {cluster!r}, not {expected!r}", err=True)
        return False
    click.echo(f"{path}: let in as the cluster {cluster}")
    return True


@click.command()
@click.argument("cluster")
def token(cluster: str) -> None:
    """Make a token for CLUSTER, and the setting that lets it in.

    The first line is the token, for the user in the webhook's kubeconfig; the second is AUDIT_TOKENS with its hash put
    to what the environment has already, so that an old token stays good until it is taken out.
    """
    if not auth.CLUSTER.fullmatch(cluster):
        raise click.BadParameter("write a-z 0-9 - . and at most 63 characters, as in prod-1", param_hint="CLUSTER")
    secret, fresh = auth.new_token(cluster)
    setting = tokens_setting(known_tokens(), [fresh])
    click.echo(f"token: {secret}")
    click.echo(setting)
