"""``auditsplit check``: check the settings, the sinks, and whether a kubeconfig's sender is accepted."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from auditsplit.apiserver.kubeconfig import acceptance
from auditsplit.cli.support import findings
from auditsplit.cli.support.contract import FINDINGS, example, output_option, print_json, reason
from auditsplit.cli.support.environment import open_ingest, read_settings, refuse
from auditsplit.deadline import REQUEST_S, Deadline
from auditsplit.errors import SenderError, SinkError
from auditsplit.settings import Settings
from auditsplit.sinks import Composed, Sink
from auditsplit.sinks.file.sink import OWN_FOLDER
from auditsplit.sinks.options import Target
from auditsplit.webhook import rules

_FILE = click.Path(path_type=Path)
_IMPERSONATED = (
    "AUDIT_USER=impersonated: kube-apiserver has not read the impersonated user at the stage RequestReceived. Where "
    "the policy records this stage, the stages of a request are in two users' files. Write omitStages: "
    "[RequestReceived] into the policy"
)


@click.command(epilog=example("AUDIT_SINKS=file:audit auditsplit check"))
@click.option(
    "--kubeconfig", type=_FILE, help="Also report whether the sender with this webhook kubeconfig would be accepted."
)
@click.option("--cluster", help="The cluster that the kubeconfig's sender must be accepted as.")
@output_option
def check(kubeconfig: Path | None, cluster: str | None, *, as_json: bool) -> None:
    """Check the settings and the sinks without serving.

    Exits with 2 if a setting is wrong. Exits with 1 if a sink would not accept events now, or the kubeconfig's sender
    would be refused.
    """
    if cluster and not kubeconfig:
        raise click.UsageError("--cluster requires --kubeconfig")
    settings = read_settings()
    sinks = zip(open_ingest(settings).sinks, settings.sinks, strict=True)
    accepts = {part.name: _accepts(part, target) for sink, target in sinks for part in _parts(sink)}
    if any(target.user == "impersonated" for target in settings.sinks):
        click.echo(_IMPERSONATED, err=True)
    accepted = _accepted(kubeconfig, cluster, settings) if kubeconfig else None
    lines = [f"{name}: accepts events" for name, good in accepts.items() if good]
    lines += [f"senders: {_senders(settings)}", f"redacted: {settings.redaction}", *_policies(settings)]
    if accepted:
        lines.append(f"{kubeconfig}: accepted as the cluster {accepted}")
    if as_json:
        clusters = sorted({token.cluster for token in settings.tokens})
        redacted = str(settings.redaction)
        print_json({"sinks": accepts, "clusters": clusters, "redacted": redacted, "acceptedAs": accepted or None})
    else:
        click.echo("\n".join(lines))
    sys.exit(0 if all(accepts.values()) and accepted != "" else FINDINGS)


def _parts(sink: Sink) -> Sequence[Sink]:
    """Return the downstreams of AuditSinks. Of any other sink, the sink."""
    return sink.parts() if isinstance(sink, Composed) else [sink]


def _policies(settings: Settings) -> Iterator[str]:
    """Yield a line for each policy that is applied."""
    policies = {"policy": settings.policy, **{f"policy for {each.url}": each.options.policy for each in settings.sinks}}
    for name, policy in policies.items():
        if policy:
            yield f"{name}: {policy}, {len(policy.policy.rules)} rules"


def _senders(settings: Settings) -> str:
    clusters = sorted({token.cluster for token in settings.tokens})
    return f"the clusters {', '.join(clusters)}, by token" if clusters else "anyone on this machine, without a token"


def _accepts(sink: Sink, target: Target[Any]) -> bool:
    """Return whether the sink would accept events now. Report why not."""
    if target.scheme == "file" and not (Path(target.path) / OWN_FOLDER).exists():
        return _accepts_files(sink.name, Path(target.path))
    try:
        sink.check(Deadline.after(REQUEST_S))
    except SinkError as error:
        click.echo(f"error: {sink.name}: {error}", err=True)
        return False
    return True


def _accepts_files(name: str, root: Path) -> bool:
    """Return whether files could be written to a folder that no sink has used yet. Leave nothing behind."""
    existing = next(folder for folder in (root, *root.absolute().parents) if folder.exists())
    try:
        with tempfile.TemporaryFile(dir=existing) as file:
            file.write(b"\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        click.echo(f"error: {name}: {existing}: {reason(error)}", err=True)
        return False
    return True


def _accepted(path: Path, expected: str | None, settings: Settings) -> str:
    """Return the cluster that the kubeconfig's sender is accepted as.

    The result is empty, and the reason is reported, if the sender is refused or the cluster is not ``expected``.
    """
    try:
        document, faults = rules.read(path)
    except (OSError, ValueError) as error:
        refuse([f"{path}: {reason(error)}"])
    if findings.report(faults, f"{path}: "):
        return ""
    try:
        cluster = acceptance.cluster_of(document, path.parent, settings)
    except (SenderError, ValueError) as error:
        click.echo(f"error: {path}: refused: {error}", err=True)
        return ""
    if expected not in (None, cluster):
        click.echo(f"error: {path}: accepted as the cluster {cluster!r}, not {expected!r}", err=True)
        return ""
    return cluster
