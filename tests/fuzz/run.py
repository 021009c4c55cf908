"""Fuzz the decode paths: ``PYTHONPATH=tests python -m fuzz.run --bodies 50000 --report docs/proofs/fuzz.md``.

It prints each disagreement with its seed and the body in hexadecimal, and ends with 1 if there was one.
"""

from __future__ import annotations

import platform
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import click

from fuzz import bodies, compare, paths
from fuzz.compare import Disagreement
from fuzz.judge import judging

SEED = 20261126
MARKER = "<!-- what make fuzz found -->"


class Failure(NamedTuple):
    """A disagreement, with what repeats it."""

    seed: str
    body: bytes
    why: Disagreement

    def __str__(self) -> str:
        """Return the failure with the body in hexadecimal, for a test of its own."""
        return (
            f"seed {self.seed}: {self.why.sentence}\n  ours:   {self.why.ours!r}\n  theirs: {self.why.theirs!r}\n"
            f"  body:   bytes.fromhex('{self.body.hex()}')"
        )


class Result(NamedTuple):
    """What a run came to."""

    classes: Counter[str]
    events: int
    failures: list[Failure]


def fuzz(count: int, first: int = 0, seed: int = SEED) -> Result:
    """Return what came of ``count`` bodies, of which the first has the number ``first``."""
    result = Result(Counter(), 0, [])
    events = 0
    with judging() as judge:
        for number in range(first, first + count):
            name = f"{seed}:{number}"
            body = bodies.generate(name)
            found = paths.outcomes(body)
            ours = found["as served"][0]
            events += len(ours.events)
            told = compare.among_paths(body, found) or compare.with_go(body, ours, judge(body))
            if isinstance(told, Disagreement):
                result.failures.append(Failure(name, body, told))
            else:
                result.classes[told] += 1
    return result._replace(events=events)


def report(result: Result, seconds: float) -> Iterator[str]:
    """Yield the lines of the report."""
    count = sum(result.classes.values()) + len(result.failures)
    go = subprocess.run(["go", "version"], capture_output=True, text=True, check=True).stdout.split()[2]
    yield f"{datetime.now(UTC):%Y-%m-%d}, Python {platform.python_version()}, {go}, seed {SEED}."
    yield f"{count:,} bodies with {result.events:,} events, {len(paths.PATHS) + 1} paths, {seconds:.0f} s."
    yield f"{len(result.failures)} disagreements."
    yield ""
    yield "| result | bodies |"
    yield "| --- | ---: |"
    for name, bodies_of_it in result.classes.most_common():
        yield f"| {name} | {bodies_of_it:,} |"
    yield ""
    yield "| deliberate difference | reason |"
    yield "| --- | --- |"
    for name, reason in compare.DIFFERENCES.items():
        yield f"| {name} | {reason} |"


@click.command()
@click.option("--bodies", "count", type=int, default=2000, show_default=True, help="How many bodies to try.")
@click.option("--first", type=int, default=0, help="The number of the first body, to repeat a failure.")
@click.option(
    "--report", "page", type=click.Path(path_type=Path, exists=True), help="The page to write the figures to."
)
@click.pass_context
def main(context: click.Context, count: int, first: int, page: Path | None) -> None:
    """Fuzz the decode paths and print the figures."""
    began = time.monotonic()
    result = fuzz(count, first)
    for failure in result.failures[:20]:
        click.echo(failure, err=True)
    text = "\n".join(report(result, time.monotonic() - began)) + "\n"
    click.echo(text, nl=False)
    if page and not result.failures:
        head, marker, _ = page.read_text().partition(MARKER)
        page.write_text(head + marker + "\n\n" + text)
    context.exit(bool(result.failures))


if __name__ == "__main__":
    main()
