"""The findings about a kubeconfig, as all commands say them."""

from __future__ import annotations

from collections.abc import Iterable

import click

from auditsplit.apiserver.rules import ERROR, Finding


def tell(findings: Iterable[Finding], before: str = "") -> bool:
    """Say the findings, after ``before``; return whether one is an error."""
    found = list(findings)
    for finding in found:
        click.echo(f"{before}{finding}", err=True)
    return any(finding.level == ERROR for finding in found)
