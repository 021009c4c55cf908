"""``auditsplit ship``: follow audit logs and deliver their lines."""

from __future__ import annotations

import importlib.util
import logging
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import click

from auditsplit import auth
from auditsplit.cli.support import findings
from auditsplit.cli.support.contract import FINDINGS, MISUSE, example, reason
from auditsplit.cli.support.environment import open_ingest, read_settings, refuse
from auditsplit.cli.support.quantity import SIZE, TIME, TIME_OR_NONE
from auditsplit.errors import SinkError
from auditsplit.serve import process
from auditsplit.settings import Settings
from auditsplit.ship.checkpoint import Checkpoint, CheckpointError, CheckpointFile
from auditsplit.ship.delivery import Delivery, ToFunction, ToSinks
from auditsplit.ship.files import Files
from auditsplit.ship.follower import Follower, Limits
from auditsplit.ship.shipper import Observer, Pace, Shipper
from auditsplit.webhook import rules

_CHECKPOINT = Path("/var/lib/auditsplit/ship.json")
_ADDRESS = "HOST:PORT"
_MAX_PORT = 65535
_log = logging.getLogger(__name__)


@click.command(epilog=example("AUDIT_SINKS=file:/srv/audit auditsplit ship /var/log/kubernetes/audit/audit.log"))
@click.argument("logs", metavar="FILE...", nargs=-1, required=True)
@click.option("--cluster", help="The cluster that the events come from.  [default: AUDIT_CLUSTER, or default]")
@click.option("--kubeconfig", type=click.Path(path_type=Path), help="Post to the function that this file names.")
@click.option(
    "--checkpoint",
    type=click.Path(path_type=Path),
    default=_CHECKPOINT,
    show_default=True,
    help="The file that remembers what was delivered.",
)
@click.option(
    "--from",
    "start",
    type=click.Choice(["beginning", "end"]),
    default="beginning",
    show_default=True,
    help="Where to begin without a checkpoint.",
)
@click.option("--once", is_flag=True, help="Ship what is there now, and exit. With 1 if a file could not be read.")
@click.option("--batch-max-size", type=SIZE, default="4MiB", show_default=True, help="The most bytes of a batch.")
@click.option(
    "--batch-max-wait",
    type=TIME_OR_NONE,
    default="1s",
    show_default=True,
    help="How long a batch that is not full waits for more lines.",
)
@click.option("--initial-backoff", type=TIME, default="1s", show_default=True, help="The wait before the first retry.")
@click.option("--metrics", "address", metavar=_ADDRESS, help="Answer /metrics, /healthz and /readyz there.")
def ship(  # noqa: PLR0913 - an argument for each option
    logs: tuple[str, ...],
    cluster: str | None,
    kubeconfig: Path | None,
    checkpoint: Path,
    start: str,
    *,
    once: bool,
    batch_max_size: int,
    batch_max_wait: float,
    initial_backoff: float,
    address: str | None,
) -> None:
    """Follow kube-apiserver's audit log as it grows and rotates, and deliver each line once.

    FILE is the path of --audit-log-path. In quotes, it may be a pattern. Its rotated files are found beside it, also
    compressed. It may be a container's log: then the lines of other logs in it are left out.

    The lines go to AUDIT_SINKS, or with --kubeconfig to a function. A batch is retried until it is delivered. After a
    kill, the batch that was on its way is sent again with the same bytes, and the receiver recognises it.
    """
    settings = read_settings()
    delivery = _to_function(kubeconfig) if kubeconfig else _to_sinks(settings, cluster)
    observer, end = _observed(address)
    held = CheckpointFile(checkpoint)
    files = Files(logs)
    limits = Limits(batch_max_size, max(batch_max_size, settings.max_body_bytes))
    pace = Pace(batch_max_wait, initial_backoff)
    try:
        with held.hold():
            follower = _follower(held, files, limits, observer, at_the_end=start == "end")
            shipper = Shipper(follower, held, delivery, observer, pace)
            for number in (signal.SIGTERM, signal.SIGINT):
                # In a thread, because the signal may interrupt the event's own methods, which hold its lock.
                signal.signal(number, lambda *_: threading.Thread(target=shipper.stop).start())
            process.tune()
            shipper.run(once=once)
            follower.close()
            if once and not files.complete:
                sys.exit(FINDINGS)
    except CheckpointError as error:
        refuse([str(error)])
    except OSError as error:
        raise click.ClickException(f"{error.filename or checkpoint}: {reason(error)}") from error
    finally:
        end()


def _follower(held: CheckpointFile, files: Files, limits: Limits, observer: Observer, *, at_the_end: bool) -> Follower:
    """Return what follows the files from the checkpoint on, or without one from where the user said."""

    def lost(path: str, size_bytes: int) -> None:
        observer.lost(size_bytes)
        _log.error("%d bytes of %s were gone before they were read", size_bytes, path)

    found = held.read()
    follower = Follower(files, found or Checkpoint(), limits, lost)
    if found is None and at_the_end:
        follower.skip_to_the_end()
        held.write(follower.checkpoint)
    return follower


def _to_sinks(settings: Settings, cluster: str | None) -> Delivery:
    if cluster is not None:
        try:
            auth.check_cluster(cluster)
        except ValueError as error:
            raise click.BadParameter(str(error), param_hint="--cluster") from error
    ingest = open_ingest(settings)
    for sink in ingest.sinks:
        try:
            sink.recover()
        except SinkError as error:
            _log.error("at the start: %s", error)
    return ToSinks(ingest, cluster or settings.cluster)


def _to_function(kubeconfig: Path) -> Delivery:
    try:
        document, faults = rules.read(kubeconfig)
    except (OSError, ValueError) as error:
        refuse([f"{kubeconfig}: {reason(error)}"])
    if findings.report(faults, f"{kubeconfig}: "):
        sys.exit(MISUSE)
    return ToFunction(document, kubeconfig.parent)


def _observed(address: str | None) -> tuple[Observer, Callable[[], None]]:
    """Return what takes note of the shipper's work, and what ends that. With an ``address``, it answers there."""
    if not address:
        return Observer(), lambda: None
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > _MAX_PORT:
        raise click.BadParameter(f"{address[:60]!r} is not HOST:PORT. Write 127.0.0.1:9419", param_hint="--metrics")
    if not importlib.util.find_spec("prometheus_client"):
        raise click.UsageError("--metrics requires the package prometheus-client. Install auditsplit's extra 'metrics'")
    from auditsplit.ship import metrics  # noqa: PLC0415 - an extra

    counted = metrics.Metrics()
    try:
        return counted, metrics.serve(counted, host.strip("[]"), int(port))
    except OSError as error:
        raise click.BadParameter(f"{address}: {reason(error)}", param_hint="--metrics") from error
