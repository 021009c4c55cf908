"""``auditsplit policy try``: what a policy would have made of a recording."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from auditsplit.cli.support import policies, tables
from auditsplit.cli.support.contract import example, output_option, print_json
from auditsplit.cli.support.recordings import EVENTS, Recordings
from auditsplit.policy.explanation import explained
from auditsplit.policy.load import Loaded
from auditsplit.policy.trial import DAY_S, Trial

_EXAMPLE = example(
    "auditsplit policy try policy.yaml var/log",
    "auditsplit policy try policy.yaml audit.log --output json > tried.json",
    "auditsplit flags --from tried.json --platform lambda",
)
_ROWS = 10


@click.command("try", epilog=_EXAMPLE)
@click.argument("file", metavar="POLICY", type=policies.FILE)
@click.argument("events", metavar="EVENTS...", nargs=-1, required=True, type=EVENTS)
@output_option
def trial(file: Path, events: tuple[Path, ...], *, as_json: bool) -> None:
    """Show how many events and bytes POLICY would have recorded of EVENTS: in all, by rule, user and resource.

    EVENTS are EventLists, audit logs or folders of them, perhaps compressed with gzip. - is standard input. If
    POLICY records more than the policy of the recording did, the figures are too low.
    """
    policy, loaded = policies.valid(file)
    recordings = Recordings(events)
    tried = Trial(policy)
    tried.add(explained(recordings.events(), policy))
    tried.malformed += recordings.malformed
    recordings.malformed = tried.malformed
    figures = tried.figures()
    if as_json:
        print_json(figures)
    else:
        _print(figures, loaded)
    _caution(figures)
    recordings.report()


def _print(figures: dict[str, Any], loaded: Loaded) -> None:
    recorded, kept = figures["recorded"], figures["policy"]
    rows = [("", "events", "bytes", "events/s", "bytes/day"), _whole("recorded", recorded, figures["seconds"])]
    rows.append(_whole("policy", kept, figures["seconds"]))
    click.echo(tables.text(rows))
    for title, key in (("rule", "byRule"), ("user", "byUser"), ("resource", "byResource")):
        table: list[tuple[str, ...]] = [(title, "events", "bytes", "kept events", "kept bytes")]
        for row in figures[key][:_ROWS]:
            label = policies.rule_name(loaded, row["rule"]) if title == "rule" else row[title] or "none"
            table.append((label, *(f"{row[each]:,}" for each in ("events", "bytes", "keptEvents", "keptBytes"))))
        if len(figures[key]) > _ROWS:
            table.append((f"{len(figures[key]) - _ROWS} more", "", "", "", ""))
        click.echo(tables.text(table))


def _whole(name: str, amount: dict[str, Any], seconds: float) -> tuple[str, ...]:
    rates = ("-", "-")
    if seconds:
        rates = (f"{amount['events'] / seconds:,.1f}", f"{amount['bytes'] / seconds * DAY_S:,.0f}")
    return (name, f"{amount['events']:,}", f"{amount['bytes']:,}", *rates)


def _caution(figures: dict[str, Any]) -> None:
    click.echo(
        "A recording shows only what its own policy recorded. Requests that it left out are not in these figures",
        err=True,
    )
    if figures["understated"]:
        click.echo(
            f"{figures['understated']:,} events were recorded at a lower level than this policy asks for. Their bodies "
            "are not in these figures",
            err=True,
        )
