"""``auditsplit kubeconfig from-list``: write the kubeconfigs of a list of clusters."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

import click

from auditsplit.apiserver.kubeconfig import clusters
from auditsplit.apiserver.kubeconfig.clusters import Plan
from auditsplit.cli.support import findings, kubeconfigs
from auditsplit.cli.support.contract import about, example
from auditsplit.cli.support.environment import known_tokens, refuse, tokens_setting

_PATH = click.Path(path_type=Path)


@click.command("from-list", epilog=example("auditsplit kubeconfig from-list clusters.yaml"))
@click.argument("file", type=_PATH)
@click.option(
    "--folder", type=_PATH, default=kubeconfigs.FOLDER, show_default=True, help="The folder for CLUSTER.yaml files."
)
@click.option("--force", is_flag=True, help="Replace files with a different content. Their tokens are kept.")
@click.option(
    "--rotate", is_flag=True, help="Make new tokens. The setting keeps the old tokens' hashes until you remove them."
)
@click.option("--dry-run", is_flag=True, help="Only report the files that would be written.")
def from_list(file: Path, folder: Path, *, force: bool, rotate: bool, dry_run: bool) -> None:
    """Write the kubeconfigs of all clusters in FILE, a list in YAML, and print the AUDIT_TOKENS that accepts them.

    An entry has a name, a server and the options of 'kubeconfig create' without the dashes: exec-args is a list,
    exec-env a mapping, switches are true. An aggregated apiserver is an entry of its own. Tokens from an earlier run
    are kept.
    """
    known = known_tokens()
    plans = _plans(file, folder, rotate=rotate)
    setting = tokens_setting(known, chain.from_iterable(plan.hashes for plan in plans))
    _exit_if_faulty(plans)
    changed = [plan for plan in plans if plan.before != plan.text]
    if dry_run:
        _report_unwritten(changed)
        return
    _write(changed, overwrite=force or rotate)
    for plan in plans:
        kubeconfigs.report_unlisted(plan.entry, known)
    click.echo(setting)


def _plans(file: Path, folder: Path, *, rotate: bool) -> list[Plan]:
    try:
        return clusters.plan(clusters.read(file.read_text("utf-8")), file.parent, folder, rotate=rotate)
    except (OSError, ValueError) as error:
        refuse([about(file, error)])


def _exit_if_faulty(plans: Sequence[Plan]) -> None:
    """Report the findings of all plans. Exit with 1 if any is an error."""
    faulty = [findings.report(plan.findings, f"{plan.path}: ") for plan in plans]
    if any(faulty):
        sys.exit(1)


def _report_unwritten(changed: Sequence[Plan]) -> None:
    for plan in changed:
        click.echo(f"{plan.path}: not written", err=True)


def _write(changed: Sequence[Plan], *, overwrite: bool) -> None:
    """Write all files. Exit with 2 before the first if any exists, unless they may be overwritten."""
    existing = [plan.path for plan in changed if plan.before is not None]
    if existing and not overwrite:
        refuse(f"{path} exists with a different content. Write --force to replace it" for path in existing)
    for plan in changed:
        kubeconfigs.write(plan.path, plan.text, overwrite=overwrite)
