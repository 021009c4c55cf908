"""``auditsplit kubeconfig create``: write a cluster's kubeconfig."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click

from auditsplit.apiserver.kubeconfig.entry import Entry, Made, make
from auditsplit.cli.support import findings, kubeconfigs
from auditsplit.cli.support.contract import example, reason
from auditsplit.cli.support.environment import known_tokens, refuse, tokens_setting
from auditsplit.webhook import rules
from auditsplit.webhook.kubeconfig import schema


def _entry_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that make up an `Entry`. They have the names of its fields."""
    for option in reversed(_ENTRY_OPTIONS):
        command = option(command)
    return command


_ENTRY_OPTIONS = (
    click.option(
        "--server", required=True, help="The function's URL. If it has no path, /clusters/CLUSTER is appended."
    ),
    click.option(
        "--token-from",
        default="",
        metavar="FILE",
        help="Read the token from this file, and write it. - is standard input.",
    ),
    click.option(
        "--token-file",
        default="",
        metavar="PATH",
        help="Let the apiserver read the token from this file, every minute.",
    ),
    click.option("--basic", default="", metavar="USER", help="A username. Requires --password-from."),
    click.option(
        "--password-from",
        default="",
        metavar="FILE",
        help="Read the password from this file, and write it. - is standard input.",
    ),
    click.option(
        "--client-certificate", default="", metavar="PATH", help="A client certificate. Requires --client-key."
    ),
    click.option("--client-key", default="", metavar="PATH", help="The client certificate's key."),
    click.option("--embed", is_flag=True, help="Read the client certificate and key now, and write their content."),
    click.option("--exec-command", default="", metavar="CMD", help="A program that prints an ExecCredential."),
    click.option(
        "--exec-arg", "exec_args", multiple=True, metavar="ARG", help="An argument of the program. Can be repeated."
    ),
    click.option(
        "--exec-env", multiple=True, metavar="NAME=VALUE", help="A variable of its environment. Can be repeated."
    ),
    click.option(
        "--gcloud-identity-token", is_flag=True, help="A ready-made program that asks gcloud for an identity token."
    ),
    click.option(
        "--no-credentials", is_flag=True, help="Write no credentials, for a function on the apiserver's own machine."
    ),
    click.option(
        "--ca-file",
        default="",
        metavar="PATH",
        help="Let the apiserver read the server's CA certificates from this file.",
    ),
    click.option(
        "--ca-data-from", default="", metavar="FILE", help="Read the CA certificates from this file, and write them."
    ),
    click.option(
        "--tls-server-name",
        default="",
        metavar="NAME",
        help="A name in the server's certificate, if the URL's host is not in it.",
    ),
    click.option("--proxy-url", default="", metavar="URL", help="An http, https or socks5 proxy."),
    click.option("--insecure-skip-tls-verify", is_flag=True, help="Trust any certificate. For trials only."),
)


@click.command(epilog=example("auditsplit kubeconfig create prod --server https://audit.example.com"))
@click.argument("cluster")
@_entry_options
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    help="The file to write. - is standard output.  [default: kubeconfigs/CLUSTER.yaml]",
)
@click.option("--force", is_flag=True, help="Replace an existing file.")
@click.option("--dry-run", is_flag=True, help="Print the document with its tokens, passwords and keys redacted.")
def create(
    cluster: str, output: Path | None, *, force: bool, dry_run: bool, exec_env: tuple[str, ...], **given: Any
) -> None:
    """Write the kubeconfig of CLUSTER.

    Without an option for credentials, a token is made. The setting that accepts it is printed: AUDIT_TOKENS
    with the hashes that the environment's AUDIT_TOKENS has already, and the token's. A PATH is on the apiserver's
    machine, and a relative PATH starts at the kubeconfig's folder. A FILE is read now. Exits with 1, and writes
    nothing, if kube-apiserver would get the kubeconfig wrong.
    """
    given["exec_args"] = list(given["exec_args"])
    entry = Entry(name=cluster, exec_env=_variables(exec_env), **given)
    if mistakes := entry.mistakes():
        refuse(mistakes)
    known = known_tokens()
    path = output or kubeconfigs.FOLDER / f"{cluster}.yaml"
    if not (force or dry_run):
        _refuse_to_replace(path)
    made = _make(entry)
    setting = tokens_setting(known, [made.hash]) if made.hash else ""
    if findings.report(rules.check(made.document, path.parent)):
        sys.exit(1)
    if dry_run:
        click.echo(schema.encode(schema.redacted(made.document)), nl=False)
        click.echo(f"{path}: not written", err=True)
        return
    kubeconfigs.write(path, schema.encode(made.document), overwrite=force)
    if setting:
        click.echo("the function accepts the token with", err=True)
        click.echo(setting, err=str(path) == "-")
    kubeconfigs.report_unlisted(entry, known)


def _refuse_to_replace(path: Path) -> None:
    if str(path) != "-" and path.exists():
        refuse([f"{path} exists. Write --force to replace it"])


def _make(entry: Entry) -> Made:
    try:
        return make(entry, Path())
    except (OSError, ValueError) as error:
        named = f"{error.filename}: " if isinstance(error, OSError) and error.filename else ""
        refuse([f"{named}{reason(error)}"])


def _variables(given: Iterable[str]) -> dict[str, str]:
    pairs = [text.partition("=") for text in given]
    if mistakes := [
        f"--exec-env: {name[:40]!r}: expected NAME=VALUE" for name, sign, _ in pairs if not (name and sign)
    ]:
        refuse(mistakes)
    return {name: value for name, _, value in pairs}
