"""Write the generated tables in README.md and docs/ again: ``make docs``.

A table is between the comments ``<!-- generated: NAME -->`` and ``<!-- end -->``. Its content comes from declarations
in the package: settings, options of sinks, fields of templates, metrics, log fields and error codes. The tables of
costs come from benchmarks/cost.py. The sections of docs/reference/cli.md are what ``--help`` prints. A link in a help
text is relative to ``docs/``. It is written relative to the page.
"""

from __future__ import annotations

import os
import re
import runpy
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import click
from prometheus_client.metrics import MetricWrapperBase

from auditsplit import cli, errors, sinks
from auditsplit.apiserver.flags.platforms import DEFAULT_MAX_BODY_BYTES, PLATFORMS
from auditsplit.apiserver.flags.sizing import example
from auditsplit.apiserver.installers import INSTALLERS
from auditsplit.errors import AuditsplitError, SenderError
from auditsplit.routing.fields import EXTRA_HELP, FIELDS
from auditsplit.settings import NAMES
from auditsplit.ship import metrics as ship_metrics
from auditsplit.sinks.options import Row, describe
from auditsplit.telemetry import logs, metrics
from metricsapi import counters
from metricsapi.settings import NAMES as METRICS_API_NAMES

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
_BLOCK = re.compile(r"(?<=^<!-- generated: )([\w -]+) -->\n.*?(?=^<!-- end -->$)", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(?<=\]\()(?!https?:)([^)#]*)(#[^)]*)?(?=\))")
_FILE_OPTION = "AUDIT_FILE_"
_HELP_COLUMNS = 100
_STATUSES = {"sink": "503", "busy": "503", "fault": "500"}
_OUTCOMES = (
    ("`ok`", "200", "every sink holds the batch", "nobody", ""),
    (
        *("`rejected`", "200", "every sink holds the events, and malformed items are in `_rejected/`", "the sender"),
        "the message says where they are. kube-apiserver sends no such items, so find their sender",
    ),
)


def table(heading: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a table in Markdown."""
    heading = list(heading)
    lines = [heading, ["---"] * len(heading), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


def code(text: str) -> str:
    """Return ``text`` as code; nothing where it is empty."""
    return f"`{text}`" if text else ""


def options(scheme: str) -> list[Row]:
    """Return the options of a sink."""
    return list(describe(sinks.module_of(scheme).Options))


def settings() -> Iterator[tuple[str, ...]]:
    """Yield name, default and meaning of each setting."""
    files = {row.name: row for row in options("file")}
    for name, setting in NAMES.items():
        text, default = setting.help, setting.default
        if name.startswith(_FILE_OPTION):
            option = files[name.removeprefix(_FILE_OPTION).lower()]
            text, default = f"{text}: {option.help}", option.default
        yield code(name), code(default), text


def metrics_api_settings() -> Iterator[tuple[str, ...]]:
    """Yield name, default and meaning of each setting of the function that answers the Metrics API."""
    for name, setting in METRICS_API_NAMES.items():
        default = setting.default
        yield code(name), default if "`" in default else code(default), setting.help


def metric_rows(place: object) -> Iterator[tuple[str, ...]]:
    """Yield name, type, labels and meaning of each metric of a module or object, as Prometheus reads them."""
    for metric in vars(place).values():
        if isinstance(metric, MetricWrapperBase):
            [described] = metric.describe()
            name = described.name + ("_total" if described.type == "counter" else "")
            labels = ", ".join(map(code, metric._labelnames))  # noqa: SLF001 - a metric has no other way to tell them
            yield code(name), described.type, labels, described.documentation


def codes() -> Iterator[tuple[str, ...]]:
    """Yield code, status, meaning, who must act and what to do, of each outcome of a request."""
    yield from _OUTCOMES
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, AuditsplitError)]
    for kind in [kind for kind in kinds if kind is not SenderError]:
        status = str(kind.status) if issubclass(kind, SenderError) else _STATUSES.get(kind.code, "")
        yield code(kind.code), status, kind.meaning, kind.acts, kind.advice


def cloudwatch() -> Iterator[tuple[str, ...]]:
    """Yield name and unit of each metric in CloudWatch."""
    for name, unit in logs.UNITS.items():
        yield code(name), unit


def platforms() -> Iterator[tuple[str, ...]]:
    """Yield each platform with the bytes that a list may have there, the flags for events of 2 kB, and the reason."""
    for name, platform in PLATFORMS.items():
        made = example(name)
        sizes = f"{made.backend.batch_max_size} x {made.max_event_bytes:,}"
        yield code(name), f"{platform.list_bytes(DEFAULT_MAX_BODY_BYTES):,}", sizes, platform.source


def flag_lines(platform: str) -> str:
    """Return the audit webhook's flags for a platform as a block of text."""
    return "```text\n" + "".join(f"--{name}={value}\n" for name, value in example(platform).values().items()) + "```\n"


def commands(command: click.Command, name: str, parent: click.Context | None = None) -> Iterator[str]:
    """Yield a section for ``command`` and each command below it: a heading, and what ``--help`` prints."""
    context = click.Context(command, parent, name, terminal_width=_HELP_COLUMNS, **command.context_settings)
    path = context.command_path
    yield f"##{'#' * path.count(' ')} {path}\n\n```\n{command.get_help(context)}\n```\n"
    if isinstance(command, click.Group):
        for below in command.list_commands(context):
            found = command.get_command(context, below)
            if found and not found.hidden:
                yield from commands(found, below, context)


def tables() -> Mapping[str, str]:
    """Return all tables by name; that of a sink's options by the scheme, without ``+http`` or ``+https``."""
    found = {
        "settings": table(("name", "default", "meaning"), settings()),
        "metrics api settings": table(("name", "default", "meaning"), metrics_api_settings()),
        "metrics api metrics": table(("metric", "type", "labels", "meaning"), metric_rows(counters)),
        "fields": table(
            ("field", "meaning"),
            [*((code(f"{{{name}}}"), field.help) for name, field in FIELDS.items()), ("`{extra:KEY}`", EXTRA_HELP)],
        ),
        "metrics": table(("metric", "type", "labels", "meaning"), metric_rows(metrics)),
        "ship metrics": table(("metric", "type", "labels", "meaning"), metric_rows(ship_metrics.Metrics())),
        "log": table(("field", "meaning"), ((code(name), text) for name, text in logs.HELP.items())),
        "codes": table(("code", "status", "meaning", "who acts", "what to do"), codes()),
        "platforms": table(("platform", "a list may have", "batch x event, for events of 2 kB", "why"), platforms()),
        "flags lambda": flag_lines("lambda"),
        "installers": table(
            ("`--format`", "what it prints"), ((code(name), each.title) for name, each in INSTALLERS.items())
        ),
        "cloudwatch": table(("metric", "unit"), cloudwatch()),
    }
    for scheme in sinks.SCHEMES:
        rows = ((code(row.name), row.type, code(row.default), row.help) for row in options(scheme))
        found[f"options {scheme.partition('+')[0]}"] = table(("option", "value", "default", "meaning"), rows)
    found["cli"] = "\n" + "\n".join(commands(cli.main, "auditsplit")) + "\n"
    cost = runpy.run_path(str(ROOT / "benchmarks" / "cost.py"))
    for part in ("by_rate", "by_batch", "formula", "numbers", "prices"):
        found[f"cost {part.replace('_', ' ')}"] = "".join(f"{line}\n" for line in cost[part]())
    return found


def relinked(text: str, page: Path) -> str:
    """Return ``text`` with its links relative to ``page``, not to ``docs/``."""

    def link(match: re.Match[str]) -> str:
        target = (DOCS / match[1]).resolve()
        path = "" if target == page else Path(os.path.relpath(target, page.parent)).as_posix()
        return path + (match[2] or "")

    return _LINK.sub(link, text)


def render(page: Path, made: Mapping[str, str]) -> str:
    """Return the text of a page with its tables written again."""

    def block(match: re.Match[str]) -> str:
        if match[1] not in made:
            raise click.ClickException(f"{page.name}: no table is called {match[1]!r}. Write one of {', '.join(made)}")
        return f"{match[1]} -->\n{relinked(made[match[1]], page)}"

    return _BLOCK.sub(block, page.read_text())


@click.command(help=(__doc__ or "").partition("\n")[0])
@click.option("--into", default=ROOT, type=click.Path(path_type=Path), help="Write below this folder, not in place.")
def main(into: Path) -> None:
    """Write the pages, and print the names of those that differ from before."""
    made = tables()
    missing = set(made) - {match[1] for page in PAGES for match in _BLOCK.finditer(page.read_text())}
    if missing:
        comments = "\n".join(f"<!-- generated: {name} -->\n<!-- end -->" for name in sorted(missing))
        raise click.ClickException(f"no page has a place for a table; add to README.md or a page in docs/:\n{comments}")
    for page in PAGES:
        text, name = render(page, made), page.relative_to(ROOT)
        if text != page.read_text():
            click.echo(name)
        (into / name).parent.mkdir(parents=True, exist_ok=True)
        (into / name).write_text(text)


if __name__ == "__main__":
    try:
        main()
    finally:
        metrics.forget()
