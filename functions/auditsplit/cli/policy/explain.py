"""``auditsplit policy explain``: which rule of a policy decides about events and requests."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from auditsplit.cli.support import policies, tables
from auditsplit.cli.support.contract import example, output_option
from auditsplit.cli.support.recordings import EVENTS, Recordings
from auditsplit.errors import Undecodable
from auditsplit.policy import attributes
from auditsplit.policy.explanation import Explained, described, explained, request_of
from auditsplit.policy.load import Loaded
from auditsplit.policy.rules import Decision, evaluate

_EXAMPLE = example(
    "auditsplit policy explain policy.yaml audit.log",
    "auditsplit policy explain policy.yaml --request 'verb=delete user=alice resource=apps/deployments name=y'",
)
_EXAMPLES_SHOWN = 2


@click.command(epilog=_EXAMPLE)
@click.argument("file", metavar="POLICY", type=policies.FILE)
@click.argument("events", metavar="[EVENTS]...", nargs=-1, type=EVENTS)
@click.option(
    "--request",
    "text",
    help="A request that was not recorded: verb=… user=… groups=…,… resource=… namespace=… name=…, or path=….",
)
@output_option
def explain(file: Path, events: tuple[Path, ...], text: str | None, *, as_json: bool) -> None:
    """Show which rule of POLICY decides about each event in EVENTS, and what would be recorded.

    EVENTS are EventLists, audit logs or folders of them, perhaps compressed with gzip. - is standard input. The table
    has a row for each rule: events, bytes as recorded, bytes that POLICY would record, and examples. With json, each
    event has a line.
    """
    if bool(events) == (text is not None):
        raise click.UsageError("write either EVENTS or --request")
    policy, loaded = policies.valid(file)
    if text is not None:
        try:
            request = request_of(text)
        except ValueError as error:
            raise click.BadParameter(str(error), param_hint="--request") from error
        _show(evaluate(policy, request), loaded, as_json=as_json)
        return
    recordings = Recordings(events)
    rows: dict[int | None, _Row] = {}
    for index, each in enumerate(explained(recordings.events(), policy)):
        if isinstance(each, Undecodable):
            recordings.malformed += 1
        elif as_json:
            click.echo(json.dumps(_line(index, each)))
        else:
            rows.setdefault(each.decision.rule, _Row()).add(each)
    if not as_json:
        _print(rows, loaded)
    recordings.report()
    sys.exit(0)


class _Row:
    """What the events of one rule come to."""

    def __init__(self) -> None:
        self.events = self.bytes = self.kept_bytes = 0
        self.level = ""
        self.examples: dict[str, None] = {}

    def add(self, each: Explained) -> None:
        self.events += 1
        self.bytes += len(each.event.raw) + 1
        self.kept_bytes += each.kept_bytes
        self.level = each.decision.level
        if len(self.examples) < _EXAMPLES_SHOWN:
            self.examples[described(each.request)] = None


def _print(rows: dict[int | None, _Row], loaded: Loaded) -> None:
    every = len(loaded.policy.rules) if loaded.policy else 0
    total = sum(row.bytes for row in rows.values()) or 1
    lines = [("rule", "level", "events", "bytes", "share", "kept bytes", "examples")]
    for rule in [*range(every), None]:
        row = rows.get(rule)
        if row is None:
            continue
        share = f"{100 * row.bytes / total:.1f} %"
        figures = (f"{row.events:,}", f"{row.bytes:,}", share, f"{row.kept_bytes:,}")
        lines.append((policies.rule_name(loaded, rule), row.level, *figures, "; ".join(row.examples)))
    click.echo(tables.text(lines), nl=False)
    silent = [policies.rule_name(loaded, rule) for rule in range(every) if rule not in rows]
    if silent:
        click.echo(f"rules without an event in this recording: {'; '.join(silent)}", err=True)


def _line(index: int, each: Explained) -> dict[str, Any]:
    line = {"index": index, **_decision(each.decision), "recorded": each.recorded}
    if differences := list(attributes.differences(each.head)):
        line["differences"] = differences
    return line


def _decision(decision: Decision) -> dict[str, Any]:
    return {
        "rule": decision.rule,
        "level": decision.level,
        "omitStages": sorted(decision.omit_stages),
        "omitManagedFields": decision.omit_managed_fields,
    }


def _show(decision: Decision, loaded: Loaded, *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(_decision(decision)))
        return
    stages = ", ".join(sorted(decision.omit_stages)) or "none"
    click.echo(f"rule: {policies.rule_name(loaded, decision.rule)}")
    click.echo(f"level: {decision.level}")
    click.echo(f"omitted stages: {stages}")
    click.echo(f"managed fields: {'omitted' if decision.omit_managed_fields else 'kept'}")
