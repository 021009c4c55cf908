"""``auditsplit token``: make a sender's token."""

from __future__ import annotations

import click

from auditsplit import auth
from auditsplit.cli.support.environment import known_tokens, tokens_setting


@click.command()
@click.argument("cluster")
def token(cluster: str) -> None:
    """Make a token for CLUSTER, and print it with the setting that accepts it.

    The first line is the token, for the user in the webhook's kubeconfig. The second line is AUDIT_TOKENS: the hashes
    that the environment's AUDIT_TOKENS has already, and the token's. So an old token stays valid until you remove its
    hash.
    """
    try:
        auth.check_cluster(cluster)
    except ValueError as error:
        raise click.BadParameter(f"{error}, as in prod-1", param_hint="CLUSTER") from error
    secret, fresh = auth.new_token(cluster)
    setting = tokens_setting(known_tokens(), [fresh])
    click.echo(f"token: {secret}")
    click.echo(setting)
