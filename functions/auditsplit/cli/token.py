"""``auditsplit token``: make a sender's token."""

from __future__ import annotations

import click

from auditsplit import auth
from auditsplit.cli.support.contract import example, output_option, print_json
from auditsplit.cli.support.environment import known_tokens, tokens_setting


@click.command(
    epilog=example(
        "auditsplit token prod", "auditsplit token prod | auditsplit kubeconfig prod --server https://x --token-from -"
    )
)
@click.argument("cluster")
@output_option
def token(cluster: str, *, as_json: bool) -> None:
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
    if as_json:
        print_json({"token": secret, "setting": setting})
    else:
        click.echo(f"token: {secret}\n{setting}")
