"""``auditsplit check`` and ``token``: what the receiver would take, and from whom."""

from __future__ import annotations

import os
import sys

import click

from auditsplit import auth
from auditsplit.cli.environment import read_settings
from auditsplit.errors import StoreError


@click.command()
def check() -> None:
    """Check the settings and the stores without serving.

    Exits with 2 where a setting is wrong, with 1 where a store would not take events now.
    """
    settings = read_settings()
    failed = False
    for sink in settings.sinks:
        try:
            sink.check()
            click.echo(f"{sink.name}: takes events")
        except StoreError as error:
            failed = True
            click.echo(f"{sink.name}: {error}", err=True)
    clusters = sorted({token.cluster for token in settings.tokens})
    senders = f"the clusters {', '.join(clusters)}, by token" if clusters else "anyone on this machine, without a token"
    click.echo(f"senders: {senders}")
    sys.exit(1 if failed else 0)


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
    known = os.environ.get("AUDIT_TOKENS", "").replace(",", " ").split()
    click.echo(f"token: {secret}")
    click.echo(f"AUDIT_TOKENS='{' '.join([*known, str(fresh)])}'")
