"""``auditsplit flags size``: kube-apiserver's audit webhook flags for a load, and the events that would be lost."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TypeVar

import click

from auditsplit.apiserver.flags import forecast
from auditsplit.apiserver.flags.platforms import DEFAULT_MAX_BODY_BYTES, PLATFORMS
from auditsplit.apiserver.flags.sizing import Chosen, Flags, Load, Sizing, flags_for
from auditsplit.apiserver.installers import INSTALLERS, Installer, Plan
from auditsplit.cli.support import apiserver_files, tried_figures
from auditsplit.cli.support.contract import example, output_option, print_json
from auditsplit.cli.support.environment import refuse
from auditsplit.cli.support.quantity import EVENT_SIZE, SIZE, TIME, TIME_OR_NONE, FiniteRange
from auditsplit.cli.support.tried_figures import Figures
from auditsplit.errors import SettingsError

_LONGEST_OUTAGE_S = 3600
_RATE = FiniteRange(0.001, 100_000)
_EXAMPLES = example(
    "auditsplit flags --rate 200 --event-size 2kB --platform lambda",
    "auditsplit flags --rate 200 --platform local --format kubeadm > cluster.yaml",
)
_Paths = TypeVar("_Paths", str, str | None, tuple[str, ...])


def _absolute(_: click.Context, option: click.Parameter, given: _Paths) -> _Paths:
    """Return the path or paths. They are paths of the apiserver's machine, so each must begin with /."""
    for path in (given,) if isinstance(given, str) else given or ():
        if not path.startswith("/") and not (path == "-" and option.name == "log_path"):
            raise click.BadParameter(f"{path!r} is relative. Write the absolute path on the apiserver's machine")
    return given


@click.command(epilog=_EXAMPLES)
@click.option("--rate", type=_RATE, help="Events a second that one apiserver records, on average.")
@click.option("--peak", type=_RATE, help="Events a second in the busiest minute.  [default: twice the rate]")
@click.option("--event-size", type=EVENT_SIZE, help="The usual event's size.  [default: 2kB]")
@click.option(
    "--from",
    "tried",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Take rate, peak and event size from this output of 'auditsplit policy try --output json'.",
)
@click.option("--platform", type=click.Choice([*PLATFORMS]), required=True, help="Where the function runs.")
@click.option(
    "--max-body",
    type=SIZE,
    default=DEFAULT_MAX_BODY_BYTES,
    help="The function's AUDIT_MAX_BODY_BYTES.  [default: 32MiB]",
)
@click.option("--latency", type=TIME, default="2s", show_default=True, help="Time in which the function answers.")
@click.option(
    "--outage", type=TIME_OR_NONE, default="60s", show_default=True, help="How long the function may be down."
)
@click.option(
    "--memory",
    type=SIZE,
    default="4GiB",
    show_default=True,
    help="Memory that the apiserver may use for events meanwhile.",
)
@click.option(
    "--sizing",
    type=click.Choice(["recommended", "documented"]),
    default="recommended",
    show_default=True,
    help="documented: only the arithmetic of Kubernetes' auditing page, with no room for a peak.",
)
@click.option("--batch-max-size", type=click.IntRange(1, 100_000), help="Events in a batch.  [default: as many as fit]")
@click.option("--batch-max-wait", type=TIME, help="How long to wait for a full batch.  [default: 30s]")
@click.option("--buffer-size", type=click.IntRange(1, 10_000_000), help="Events in the buffer.")
@click.option("--max-event-size", type=SIZE, help="Events above this size lose their bodies.")
@click.option("--initial-backoff", type=TIME, help="The pause after a batch's first failure.")
@click.option(
    "--config",
    callback=_absolute,
    metavar="PATH",
    default="/etc/kubernetes/audit/webhook.yaml",
    show_default=True,
    help="The kubeconfig's path on the apiserver's machine.",
)
@click.option(
    "--policy",
    callback=_absolute,
    metavar="PATH",
    default="/etc/kubernetes/audit/policy.yaml",
    show_default=True,
    help="The policy's path there.",
)
@click.option(
    "--log-path", callback=_absolute, metavar="PATH", help="Also write the apiserver's own audit log, to this path."
)
@click.option(
    "--file",
    "files",
    callback=_absolute,
    multiple=True,
    metavar="PATH",
    help="A file there that the kubeconfig names. Can be repeated.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice([*INSTALLERS]),
    metavar="FORMAT",
    default="flags",
    show_default=True,
    help=". ".join(f"{name}: {installer.title}" for name, installer in INSTALLERS.items()) + ".",
)
@click.option(
    "--merge",
    "merged",
    type=click.Path(path_type=Path, exists=True, dir_okay=False, allow_dash=True),
    help="Print this file, or standard input if it is -, with the flags and mounts merged in. For kubeadm: the"
    " cluster's ClusterConfiguration. For static-pod: the whole manifest.",
)
@click.option(
    "--files",
    "folder",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="A folder here with the files for the folder of --config there. kops and talos put their content into the"
    " document, which is then as secret as the token.",
)
@output_option
def size(  # noqa: PLR0913
    *,
    rate: float | None,
    peak: float | None,
    event_size: int | None,
    tried: Path | None,
    platform: str,
    max_body: int,
    latency: float,
    outage: float,
    memory: int,
    sizing: Sizing,
    config: str,
    policy: str,
    log_path: str | None,
    files: tuple[str, ...],
    form: str,
    merged: Path | None,
    folder: Path | None,
    as_json: bool,
    max_event_size: int | None,
    **chosen: float | None,
) -> None:
    """Print kube-apiserver's audit webhook flags for a load, with the reasons for their values.

    The command also simulates a peak, a load spike, slow answers and outages, and prints how many events each would
    lose. The rate is that of one apiserver. In Prometheus it is sum by (instance)
    (rate(apiserver_audit_event_total[1h])), and the peak is the maximum over a week of the same by the minute. The
    flags go to standard output, the reasons and losses to standard error. In the YAML formats they are comments at the
    top.
    """
    figures = tried_figures.read(tried) if tried else Figures()
    rate, peak, event_size = tried_figures.rates(figures, rate, peak, event_size, sizing)
    if outage > _LONGEST_OUTAGE_S:
        raise click.BadParameter(
            "must be at most 1h, because the events stay in the apiserver's memory. For a longer outage keep the audit"
            " log too (--log-path), and split it afterwards",
            param_hint="--outage",
        )
    installer = INSTALLERS[form]
    if merged and not installer.merge:
        able = ", ".join(name for name, each in INSTALLERS.items() if each.merge)
        raise click.BadParameter(f"goes with --format {able}, not with {form}", param_hint="--merge")
    load = Load(rate, peak, event_size, latency, outage, memory)
    preset = Chosen(max_event_bytes=max_event_size, **chosen)  # type: ignore[arg-type]
    try:
        made = flags_for(load, PLATFORMS[platform], max_body, sizing, preset)
        values = {"audit-policy-file": policy, "audit-webhook-config-file": config, **made.values(), **_log(log_path)}
        named = [] if form == "flags" else apiserver_files.named_by(config, folder)
        paths = tuple(dict.fromkeys([policy, config, *files, *named]))
        plan = Plan(values, paths, log_path, apiserver_files.contents(paths, config, folder) if installer.holds else {})
        text = _merged(installer, merged, plan) if merged else installer.write(plan)
    except SettingsError as error:
        refuse(error.mistakes)
    if as_json:
        reasons = [line.removeprefix("#").strip() for line in _comments(load, made).splitlines()]
        print_json({"flags": values, "reasons": reasons})
        return
    _print(installer, form, _comments(load, made), text, merges=merged is not None)


def _print(installer: Installer, form: str, comments: str, text: str, *, merges: bool) -> None:
    """Print the comments, within the document where it may have them, and the document."""
    in_document = installer.comments and not merges
    note = f"#\n# {installer.note}.\n" if installer.note and in_document else ""
    click.echo(comments + _missing(installer, form) + note, nl=False, err=not in_document)
    click.echo(text, nl=False)


def _merged(installer: Installer, file: Path, plan: Plan) -> str:
    """Return the file with the flags and mounts in it, and report what changed."""
    if installer.merge is None:
        raise AssertionError(installer)
    try:
        before = sys.stdin.read() if str(file) == "-" else file.read_text("utf-8")
    except (OSError, ValueError) as error:
        raise SettingsError(f"--merge: {file} is not readable text in UTF-8") from error
    text, changes = installer.merge(before, plan)
    for change in changes:
        click.echo(f"{file}: {change}", err=True)
    return text


def _missing(installer: Installer, form: str) -> str:
    if not installer.missing:
        return ""
    names = ", ".join(f"--{name}" for name in sorted(installer.missing))
    return (
        f"#\n# {form} cannot set {names}. So the size of an event has no bound, and a list may be over the platform's"
        " limit.\n# Record no bodies (auditsplit policy init --profile minimal), or lower --batch-max-size.\n"
    )


def _comments(load: Load, made: Flags) -> str:
    """Return the reasons and the simulated losses as comments."""
    heading = f"{load.rate:g} events/s, {load.peak:g} at the peak, usually {load.event_bytes:,} bytes each"
    simulated = forecast.lines(load, made.backend)
    return "".join(
        f"# {line}\n"
        for line in (
            heading,
            *made.reasons,
            "",
            "Simulated (apiserver_audit_error_total counts by plugin):",
            *simulated,
        )
    ).replace("# \n", "#\n")


def _log(path: str | None) -> dict[str, str]:
    if not path:
        return {}
    limits = {"audit-log-maxage": "30", "audit-log-maxbackup": "10", "audit-log-maxsize": "100"}
    return {"audit-log-path": path, **({} if path == "-" else limits)}
