"""``auditsplit kubeconfig create`` and ``from-list``: kubeconfigs written."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click

from auditsplit.apiserver import rules
from auditsplit.apiserver.kubeconfig import clusters, files, schema
from auditsplit.apiserver.kubeconfig.entry import Entry, make
from auditsplit.auth import TokenHash
from auditsplit.cli.environment import known_tokens, refuse, tokens_setting
from auditsplit.cli.findings import tell

_FOLDER = Path("kubeconfigs")
_PATH = click.Path(path_type=Path)


def _options(command: Callable[..., None]) -> Callable[..., None]:
    """Put on the options that an `Entry` comes from; they have its fields' names."""
    for option in reversed(_ENTRY_OPTIONS):
        command = option(command)
    return command


_ENTRY_OPTIONS = (
    click.option(
        "--server", required=True, help="URL of the function; without a path, /clusters/CLUSTER is put to it."
    ),
    click.option(
        "--token-from", default="", metavar="FILE", help="Write the token that this file has; - is standard input."
    ),
    click.option(
        "--token-file", default="", metavar="PATH", help="The apiserver reads the token from there, once a minute."
    ),
    click.option("--basic", default="", metavar="USER", help="A user name, with --password-from."),
    click.option(
        "--password-from",
        default="",
        metavar="FILE",
        help="Write the password that this file has; - is standard input.",
    ),
    click.option("--client-certificate", default="", metavar="PATH", help="A client certificate, with --client-key."),
    click.option("--client-key", default="", metavar="PATH", help="Its key."),
    click.option("--embed", is_flag=True, help="Read the client certificate and key now, and write them themselves."),
    click.option("--exec-command", default="", metavar="CMD", help="A program that prints an ExecCredential."),
    click.option("--exec-arg", "exec_args", multiple=True, metavar="ARG", help="An argument of it; repeat it."),
    click.option("--exec-env", multiple=True, metavar="NAME=VALUE", help="A variable of its environment; repeat it."),
    click.option(
        "--gcloud-identity-token", is_flag=True, help="A program, ready-made, that asks gcloud for an identity token."
    ),
    click.option("--no-credentials", is_flag=True, help="None, for a function on the apiserver's own machine."),
    click.option(
        "--ca-file", default="", metavar="PATH", help="The apiserver reads the server's CA certificates from there."
    ),
    click.option("--ca-data-from", default="", metavar="FILE", help="Write the CA certificates that this file has."),
    click.option(
        "--tls-server-name",
        default="",
        metavar="NAME",
        help="The name in the server's certificate, where it isn't the URL's.",
    ),
    click.option("--proxy-url", default="", metavar="URL", help="A proxy of http, https or socks5."),
    click.option("--insecure-skip-tls-verify", is_flag=True, help="Trust any certificate: for trials only."),
)


@click.command()
@click.argument("cluster")
@_options
@click.option(
    "--output", type=_PATH, help="Where to write it; - is standard output.  [default: kubeconfigs/CLUSTER.yaml]"
)
@click.option("--force", is_flag=True, help="Replace a file that is there.")
@click.option("--dry-run", is_flag=True, help="Show the document, without its secrets, and write nothing.")
def create(
    cluster: str, output: Path | None, *, force: bool, dry_run: bool, exec_env: tuple[str, ...], **given: Any
) -> None:
    """Write the kubeconfig of CLUSTER.

    Without an option for credentials, a token is made. The setting that lets it in, AUDIT_TOKENS with its hash put to
    what the environment has already, goes to standard error. PATHs are those of the apiserver's machine, and relative
    ones start at the kubeconfig's folder; FILEs are read now. Refuses, with 1, what kube-apiserver would get wrong.
    """
    given["exec_args"] = list(given["exec_args"])
    entry = Entry(name=cluster, exec_env=_variables(exec_env), **given)
    if mistakes := entry.mistakes():
        refuse(mistakes)
    known = known_tokens()
    path = output or _FOLDER / f"{cluster}.yaml"
    if path.exists() and not (force or dry_run or str(path) == "-"):
        refuse([f"{path} is there already; --force replaces it"])
    try:
        made = make(entry, Path())
    except (OSError, ValueError) as error:
        refuse([str(error)])
    setting = tokens_setting(known, [made.hash]) if made.hash else ""
    if tell(rules.check(made.document, path.parent)):
        sys.exit(1)
    if dry_run:
        click.echo(schema.encode(schema.redacted(made.document)), nl=False)
        click.echo(f"{path}: not written", err=True)
        return
    _write(path, schema.encode(made.document), overwrite=force)
    if setting:
        click.echo(f"the function lets it in with\n{setting}", err=True)
    _tell_unlisted(entry, known)


@click.command("from-list")
@click.argument("file", type=_PATH)
@click.option("--folder", type=_PATH, default=_FOLDER, show_default=True, help="Where to write them, as CLUSTER.yaml.")
@click.option("--force", is_flag=True, help="Replace files that say something else; their tokens are kept.")
@click.option(
    "--rotate", is_flag=True, help="Make new tokens; the setting has the old ones too, until you take them out."
)
@click.option("--dry-run", is_flag=True, help="Say what would be written, and write nothing.")
def from_list(file: Path, folder: Path, *, force: bool, rotate: bool, dry_run: bool) -> None:
    """Write the kubeconfigs of all clusters in FILE, a list in YAML, and print the AUDIT_TOKENS that lets them in.

    An entry has name, server and the options of 'kubeconfig create' without the dashes: exec-args is a list, exec-env
    a mapping, switches are true. An aggregated apiserver is an entry of its own. Tokens that were made before are kept.
    """
    known = known_tokens()
    try:
        planned = clusters.plan(clusters.read(file.read_text("utf-8")), file.parent, folder, rotate=rotate)
    except (OSError, ValueError) as error:
        refuse([f"{file}: {error}"])
    setting = tokens_setting(known, [each for plan in planned for each in plan.hashes])
    refused = [plan for plan in planned if tell(plan.findings, f"{plan.path}: ")]
    if refused:
        sys.exit(1)
    changed = [plan for plan in planned if plan.before != plan.text]
    taken = [f"{plan.path} says something else; --force replaces it" for plan in changed if plan.before is not None]
    if taken and not (force or rotate or dry_run):
        refuse(taken)
    for plan in changed:
        if dry_run:
            click.echo(f"{plan.path}: not written", err=True)
        else:
            _write(plan.path, plan.text, overwrite=force or rotate)
    if not dry_run:
        for plan in planned:
            _tell_unlisted(plan.entry, known)
        click.echo(setting)


def _tell_unlisted(entry: Entry, known: Iterable[TokenHash]) -> None:
    """Say that ``AUDIT_TOKENS`` has no token for a cluster whose token comes from elsewhere, where it has none."""
    source = entry.token_file or entry.exec_command
    if source and entry.name not in {token.cluster for token in known}:
        click.echo(
            f"{entry.name}: the function lets in no token of {source} yet; 'auditsplit token {entry.name}' makes one, "
            "with the setting that lets it in",
            err=True,
        )


def _variables(given: Iterable[str]) -> dict[str, str]:
    pairs = [text.partition("=") for text in given]
    if mistakes := [
        f"--exec-env: {name[:40]!r}: expected NAME=VALUE" for name, sign, _ in pairs if not (name and sign)
    ]:
        refuse(mistakes)
    return {name: value for name, _, value in pairs}


def _write(path: Path, text: str, *, overwrite: bool) -> None:
    if str(path) == "-":
        click.echo(text, nl=False)
        return
    try:
        files.write(path, text, overwrite=overwrite)
    except OSError as error:
        raise click.ClickException(f"{path}: {error.strerror}; nothing was written there") from error
    click.echo(f"{path}: written, 0600", err=True)
