"""Report the findings about a kubeconfig, in the same form for all commands."""

from __future__ import annotations

from collections.abc import Sequence

import click

from auditsplit.webhook.rules import ERROR, Finding


def report(findings: Sequence[Finding], prefix: str = "") -> bool:
    """Print each finding, with ``prefix`` after its level, to standard error. Return whether any is an error."""
    for finding in findings:
        click.echo(f"{finding.level}: {prefix}{finding.rule}: {finding.reason}", err=True)
    return any(finding.level == ERROR for finding in findings)
