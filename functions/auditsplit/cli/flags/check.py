"""``auditsplit flags check``: report faults of kube-apiserver's audit flags."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from auditsplit.apiserver.flags import faults, given
from auditsplit.apiserver.flags.platforms import DEFAULT_MAX_BODY_BYTES, PLATFORMS
from auditsplit.apiserver.installers.volumes import kubeconfig_paths
from auditsplit.cli.support.contract import example, output_option, print_json, reason
from auditsplit.cli.support.environment import refuse
from auditsplit.cli.support.quantity import SIZE
from auditsplit.webhook.kubeconfig import schema
from auditsplit.webhook.rules import ERROR, Finding

_EXAMPLES = example(
    "auditsplit flags check kube-apiserver.yaml --platform cloud-run",
    "kubectl -n kube-system get cm kubeadm-config -o yaml | auditsplit flags check -",
    "auditsplit flags check kube-apiserver.yaml --output json",
)


@click.command(epilog=_EXAMPLES)
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
@click.option(
    "--platform", type=click.Choice([*PLATFORMS]), help="Where the function runs. Checks the size of a batch."
)
@click.option(
    "--max-body",
    type=SIZE,
    default=DEFAULT_MAX_BODY_BYTES,
    help="The function's AUDIT_MAX_BODY_BYTES.  [default: 32MiB]",
)
@output_option
def check(file: Path, *, platform: str | None, max_body: int, as_json: bool) -> None:
    """Report faults of the audit flags in FILE. - is standard input.

    FILE is a command line, a static pod's manifest, kubeadm's ClusterConfiguration or its ConfigMap, a config.yaml of
    RKE2 or k3s, or a systemd unit with ExecStart. The files that the webhook's kubeconfig names are checked too, if the
    kubeconfig is on this machine. Exits with 1 if there is an error. Warnings alone exit with 0.
    """
    try:
        text = sys.stdin.read() if str(file) == "-" else file.read_text("utf-8")
        flags = given.read(text)
    except OSError as error:
        refuse([f"{file}: {reason(error)}"])
    except ValueError as error:
        refuse([f"{file}: {reason(error)}"])
    subject = faults.Subject(flags, _named(flags), PLATFORMS[platform] if platform else None, max_body)
    findings = faults.check(subject)
    _report(file, flags, findings, as_json=as_json)
    sys.exit(any(finding.level == ERROR for finding in findings))


def _report(file: Path, flags: given.Given, findings: list[Finding], *, as_json: bool) -> None:
    if as_json:
        found = [finding._asdict() for finding in findings]
        print_json({"file": str(file), "source": flags.source, "findings": found})
        return
    for finding in findings:
        click.echo(str(finding))
    audit = sum(name.startswith("audit-") for name, _ in flags.flags)
    click.echo(f"{file}: {flags.source} with {audit} audit flags, {len(findings)} findings", err=True)


def _named(flags: given.Given) -> tuple[str, ...] | None:
    """Return the files that the webhook's kubeconfig names. None if it cannot be read here."""
    seen = path = Path(flags.values().get(faults.WEBHOOK, ""))
    for mount in flags.mounts or ():
        if mount.host and path.is_relative_to(mount.path):
            path = Path(mount.host) / path.relative_to(mount.path)
            break
    if not path.is_file():
        return None
    try:
        return tuple(kubeconfig_paths(schema.decode(schema.parse(path.read_text("utf-8")) or {}), seen.parent))
    except (OSError, ValueError):
        click.echo(f"{path}: not a readable kubeconfig. Run 'auditsplit kubeconfig check {path}'", err=True)
        return None
