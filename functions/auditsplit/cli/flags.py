"""``auditsplit flags``: kube-apiserver's audit webhook flags for a load, their arithmetic, and simulated losses."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import click

from auditsplit.apiserver.flags import forecast, manifests
from auditsplit.apiserver.flags.platforms import DEFAULT_MAX_BODY_BYTES, PLATFORMS
from auditsplit.apiserver.flags.sizing import Chosen, Flags, Load, Sizing, flags_for
from auditsplit.apiserver.kubeconfig import schema
from auditsplit.cli.support.contract import Refused, example, output_option, print_json, reason
from auditsplit.cli.support.environment import refuse
from auditsplit.cli.support.quantity import EVENT_SIZE, SIZE, TIME, TIME_OR_NONE, FiniteRange
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
@click.option("--rate", type=_RATE, required=True, help="Events a second that one apiserver records, on average.")
@click.option("--peak", type=_RATE, help="Events a second in the busiest minute.  [default: twice the rate]")
@click.option("--event-size", type=EVENT_SIZE, default="2kB", show_default=True, help="The usual event's size.")
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
    type=click.Choice(["flags", "kubeadm", "static-pod"]),
    default="flags",
    show_default=True,
    help="The flags, a ClusterConfiguration (v1beta4), or a patch for kubeadm's patches folder.",
)
@output_option
def flags(  # noqa: PLR0913
    *,
    rate: float,
    peak: float | None,
    event_size: int,
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
    peak = peak or (2 * rate if sizing == "recommended" else rate)
    if outage > _LONGEST_OUTAGE_S:
        raise click.BadParameter(
            "must be at most 1h, because the events stay in the apiserver's memory. For a longer outage keep the audit"
            " log too (--log-path), and split it afterwards",
            param_hint="--outage",
        )
    if peak < rate:
        raise click.BadParameter(f"must be at least the rate, {rate:g}, not {peak:g}", param_hint="--peak")
    load = Load(rate, peak, event_size, latency, outage, memory)
    preset = Chosen(max_event_bytes=max_event_size, **chosen)  # type: ignore[arg-type]
    try:
        made = flags_for(load, PLATFORMS[platform], max_body, sizing, preset)
        mounts = [] if form == "flags" else _mounts((config, policy, *files), config, log_path)
    except SettingsError as error:
        refuse([str(error)])
    values = {"audit-policy-file": policy, "audit-webhook-config-file": config, **made.values(), **_log(log_path)}
    comments = _comments(load, made)
    if as_json:
        print_json({"flags": values, "reasons": [line.removeprefix("#").strip() for line in comments.splitlines()]})
    elif form == "flags":
        click.echo(comments, nl=False, err=True)
        click.echo(manifests.command_line(values), nl=False)
    else:
        write = manifests.kubeadm if form == "kubeadm" else manifests.static_pod
        click.echo(comments + write(values, mounts), nl=False)


def _mounts(files: tuple[str, ...], config: str, log_path: str | None) -> list[manifests.Volume]:
    return manifests.volumes([*files, *_kubeconfig_paths(config)], None if log_path == "-" else log_path)


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


def _kubeconfig_paths(config: str) -> list[str]:
    """Return the files that the kubeconfig names, if it exists on this machine too."""
    path = Path(config)
    if not path.is_file():
        click.echo(f"{config} is not on this machine. Name the files that it needs with --file", err=True)
        return []
    try:
        document = schema.decode(schema.parse(path.read_text("utf-8")) or {})
    except (OSError, ValueError) as error:
        raise Refused([f"{config}: not a readable kubeconfig: {reason(error)}"]) from error
    return manifests.kubeconfig_paths(document, path.parent)
