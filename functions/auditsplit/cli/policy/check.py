"""``auditsplit policy check``: report what is wrong with audit policies, and what is probably a mistake."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from auditsplit.cli.support import policies
from auditsplit.cli.support.contract import FINDINGS, MISUSE, example, output_option, print_json
from auditsplit.policy import lint
from auditsplit.policy.load import Loaded
from auditsplit.policy.problems import Problem

_EXAMPLE = example("auditsplit policy check policy.yaml", "auditsplit policy init | auditsplit policy check -")
_WORDS = {"refused": "error", "warned": "warning", "suspect": "finding"}


@click.command(epilog=_EXAMPLE)
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=policies.FILE)
@click.option("--profile", type=click.Choice(["cis"]), help="Also check against CIS Kubernetes Benchmark 3.2.2.")
@output_option
def check(files: tuple[Path, ...], profile: str | None, *, as_json: bool) -> None:
    """Report what kube-apiserver would refuse in the policies FILE, and what is probably a mistake.

    An error keeps kube-apiserver from starting. A warning is in its log. A finding is probably a mistake: a rule that
    never decides, bodies of secrets, no rule for the rest, a resource in a wrong group, a subresource that nothing
    names, a name that no request has. FILE may be - for standard input.

    Exits with 2 if there is an error, with 1 if there is a warning or a finding, else with 0.
    """
    found = {str(path): _problems(policies.read(path), profile) for path in files}
    if as_json:
        print_json({"files": [_document(name, problems) for name, problems in found.items()]})
    else:
        for name, problems in found.items():
            for problem in problems:
                click.echo(f"{_WORDS[problem.severity]}: {problem.text(name)}")
            if not problems:
                click.echo(f"{name}: nothing to report")
    severities = {problem.severity for problems in found.values() for problem in problems}
    sys.exit(MISUSE if "refused" in severities else FINDINGS if severities else 0)


def _problems(loaded: Loaded, profile: str | None) -> list[Problem]:
    if loaded.policy is None:
        return list(loaded.problems)
    found = [*loaded.problems, *lint.lint(loaded.policy, loaded.positions)]
    return found + lint.cis(loaded.policy, loaded.positions) if profile == "cis" else found


def _document(name: str, problems: list[Problem]) -> dict[str, object]:
    return {"file": name, "problems": [problem._asdict() for problem in problems]}
