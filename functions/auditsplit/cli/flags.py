"""``auditsplit flags``: kube-apiserver's audit webhook flags for a load, with the arithmetic and what will be lost."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any, cast

import click
import yaml

from auditsplit.cli.environment import MISUSE
from auditsplit.errors import SettingsError
from auditsplit.sender import forecast, manifests
from auditsplit.sender.flags import Chosen, Flags, Load, Sizing, flags_for
from auditsplit.sender.platforms import OURS, PLATFORMS

_UNITS = {"": 1, "b": 1, "kb": 1000, "mb": 1000**2, "kib": 1024, "mib": 1024**2, "k": 1000, "m": 1000**2}
_TIMES = {"ms": 0.001, "": 1, "s": 1, "m": 60, "h": 3600}


class _Quantity(click.ParamType):
    """A number with a unit, over 0 unless ``zero``."""

    def __init__(self, name: str, units: dict[str, float], example: str, *, zero: bool = False) -> None:
        self.name, self.units, self.example, self.zero = name, units, example, zero

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, int | float):
            return value
        found = re.fullmatch(r"(\d{1,12}(?:\.\d{1,6})?) ?([a-zA-Z]*)", value)
        unit = self.units.get(found[2].lower()) if found else None
        if not found or unit is None or not (self.zero or float(found[1])):
            self.fail(f"{value[:40]!r} is no {self.name}; write {self.example}", param, ctx)
        number = float(found[1]) * unit
        return number if self.units is _TIMES else round(number)


_SIZE = _Quantity("size", cast("dict[str, float]", _UNITS), "a number of bytes, 2kB or 100KiB")
_TIME = _Quantity("time", _TIMES, "30s, 5m or 1h")
_ANY_TIME = _Quantity("time", _TIMES, "30s, 5m or 1h", zero=True)
_RATE = click.FloatRange(0.001, 100_000)


@click.command()
@click.option("--rate", type=_RATE, required=True, help="Events a second that one apiserver records, on average.")
@click.option("--peak", type=_RATE, help="Events a second in its busiest minute.  [default: twice the rate]")
@click.option("--event-size", type=_SIZE, default="2kB", show_default=True, help="The usual event's size.")
@click.option("--platform", type=click.Choice([*PLATFORMS]), required=True, help="Where the function runs.")
@click.option("--max-body", type=_SIZE, default=OURS, help="The function's AUDIT_MAX_BODY_BYTES.  [default: 32MiB]")
@click.option("--latency", type=_TIME, default="2s", show_default=True, help="How long the function may take to answer.")
@click.option("--outage", type=_ANY_TIME, default="60s", show_default=True, help="How long it may be away.")
@click.option(
    "--sizing",
    type=click.Choice(["recommended", "documented"]),
    default="recommended",
    show_default=True,
    help="documented: the arithmetic of Kubernetes' auditing page as it stands, with no room for a peak.",
)
@click.option("--batch-max-size", type=click.IntRange(1, 100_000), help="Events in a batch, instead of what fits.")
@click.option("--batch-max-wait", type=_TIME, help="How long a batch may wait to be full.  [default: 30s]")
@click.option("--buffer-size", type=click.IntRange(1, 10_000_000), help="Events in the buffer.")
@click.option("--max-event-size", type=_SIZE, help="Events over this size lose their bodies.")
@click.option("--initial-backoff", type=_TIME, help="The pause after a batch's first failure.")
@click.option("--config", default="/etc/kubernetes/audit/webhook.yaml", show_default=True, help="The kubeconfig there.")
@click.option("--policy", default="/etc/kubernetes/audit/policy.yaml", show_default=True, help="The policy there.")
@click.option("--log-path", help="Keep the apiserver's own audit log here too, as a second copy.")
@click.option("--file", "files", multiple=True, metavar="PATH", help="A file that the kubeconfig names; may be repeated.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["flags", "kubeadm", "static-pod"]),
    default="flags",
    show_default=True,
    help="Flags, a ClusterConfiguration (v1beta4), or a patch for kubeadm's patches folder.",
)
def flags(  # noqa: PLR0913
    *,
    rate: float,
    peak: float | None,
    event_size: int,
    platform: str,
    max_body: int,
    latency: float,
    outage: float,
    sizing: Sizing,
    config: str,
    policy: str,
    log_path: str | None,
    files: tuple[str, ...],
    form: str,
    max_event_size: int | None,
    **chosen: float | None,
) -> None:
    """Print kube-apiserver's audit webhook flags for a load, why, and what will be lost when.

    RATE is one apiserver's: sum by (instance) (rate(apiserver_audit_event_total[1h])) in Prometheus; its maximum over a
    week, by the minute, is the peak. The flags go to standard output, the arithmetic and the simulated losses to standard
    error; in the YAML formats they are comments at the top.

    \b
      auditsplit flags --rate 200 --event-size 2kB --platform lambda
      auditsplit flags --rate 200 --platform cloud-run --outage 10m --format kubeadm > cluster.yaml
    """
    for name, path in (("--config", config), ("--policy", policy), ("--log-path", log_path), *(("--file", f) for f in files)):
        if path and path != "-" and not path.startswith("/"):
            raise click.BadParameter(f"{path!r} is relative; write the place on the apiserver's host", param_hint=name)
    peak = max(rate, 2 * rate if sizing == "recommended" else rate) if peak is None else peak
    if peak < rate:
        raise click.BadParameter(f"{peak:g} is less than the rate of {rate:g}", param_hint="--peak")
    load = Load(rate, peak, event_size, latency, outage)
    try:
        wanted = Chosen(max_event_bytes=max_event_size, **chosen)  # type: ignore[arg-type]
        made = flags_for(load, PLATFORMS[platform], max_body, sizing, wanted)
    except SettingsError as error:
        click.echo(str(error), err=True)
        sys.exit(MISUSE)
    why = _why(load, made)
    values = {"audit-policy-file": policy, "audit-webhook-config-file": config, **made.values(), **_log(log_path)}
    if form == "flags":
        click.echo(why, nl=False, err=True)
        click.echo(manifests.command_line(values), nl=False)
        return
    written = None if log_path == "-" else log_path
    mounts = manifests.volumes([config, policy, *files, *_named(config)], written)
    click.echo(why + (manifests.kubeadm if form == "kubeadm" else manifests.static_pod)(values, mounts), nl=False)


def _why(load: Load, made: Flags) -> str:
    """Return the arithmetic and the forecast as comments."""
    heading = f"{load.rate:g} events/s, {load.peak:g} at the peak, usually {load.event_bytes:,} bytes each"
    simulated = forecast.lines(load, made.backend)
    return "".join(
        f"# {line}\n"
        for line in (heading, *made.reasons, "", "Simulated (apiserver_audit_error_total counts by plugin):", *simulated)
    ).replace("# \n", "#\n")


def _log(path: str | None) -> dict[str, str]:
    if not path:
        return {}
    kept = {"audit-log-maxage": "30", "audit-log-maxbackup": "10", "audit-log-maxsize": "100"}
    return {"audit-log-path": path, **({} if path == "-" else kept)}


def _named(config: str) -> list[str]:
    """Return the files that the kubeconfig names, where it lies on this machine too."""
    path = Path(config)
    if not path.is_file():
        click.echo(f"{config} isn't on this machine: name the files that it needs with --file", err=True)
        return []
    try:
        document = yaml.safe_load(path.read_text())
        return manifests.kubeconfig_files(document, str(path.parent))
    except (OSError, ValueError, AttributeError, yaml.YAMLError) as error:
        raise click.ClickException(f"{config}: no kubeconfig that can be read: {type(error).__name__}") from error
