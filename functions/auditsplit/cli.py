"""The command line: input and output only. Results go to standard output, talk to standard error."""

from __future__ import annotations

import io
import os
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import click

from auditsplit import auth, files, telemetry
from auditsplit.errors import AuditsplitError, SettingsError, StoreError
from auditsplit.settings import Settings

_MISUSE = 2


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="auditsplit")
def main() -> None:
    """Split Kubernetes audit EventLists into every user's own files.

    The stores and all else are set in the environment, AUDIT_SINKS first; without it, files go below ./var/log.
    """
    telemetry.configure()


@main.command()
def check() -> None:
    """Check the settings and the stores without serving.

    Exits with 2 where a setting is wrong, with 1 where a store would not take events now.
    """
    settings = _settings()
    failed = False
    for sink in settings.sinks:
        try:
            sink.check()
            click.echo(f"{sink.name}: takes events")
        except StoreError as error:
            failed = True
            click.echo(f"{sink.name}: {error}", err=True)
    clusters = sorted({token.cluster for token in settings.tokens})
    senders = f"the clusters {', '.join(clusters)}, by token" if clusters else "anyone on this machine, without a token"
    click.echo(f"senders: {senders}")
    sys.exit(1 if failed else 0)


@main.command()
@click.argument("cluster")
def token(cluster: str) -> None:
    """Make a token for CLUSTER, and the setting that lets it in.

    The first line is the token, for the user in the webhook's kubeconfig; the second is AUDIT_TOKENS with its hash put
    to what the environment has already, so that an old token stays good until it is taken out.
    """
    if not auth.CLUSTER.fullmatch(cluster):
        raise click.BadParameter("write a-z 0-9 - . and at most 63 characters, as in prod-1", param_hint="CLUSTER")
    secret, fresh = auth.new_token(cluster)
    known = os.environ.get("AUDIT_TOKENS", "").replace(",", " ").split()
    click.echo(f"token: {secret}")
    click.echo(f"AUDIT_TOKENS='{' '.join([*known, str(fresh)])}'")


@main.command()
@click.argument("sources", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--cluster", help="The cluster that the events are from.  [default: AUDIT_CLUSTER, or default]")
def split(sources: tuple[Path, ...], cluster: str | None) -> None:
    """Split recorded EventLists or audit log files into the configured stores.

    FILE is an EventList or an Event in JSON, or one on each line, as kube-apiserver's audit log has them; gzip is
    recognised, and - is standard input. Exits with 1 where something was no event (it is kept in _rejected/).
    """
    settings = _settings()
    if cluster is not None and not auth.CLUSTER.fullmatch(cluster):
        raise click.BadParameter("write a-z 0-9 - . and at most 63 characters", param_hint="--cluster")
    counts: Counter[str] = Counter()
    for source in sources:
        try:
            for done in _split(source, cluster or settings.cluster, settings):
                counts.update(done.counts)
        except (AuditsplitError, OSError) as error:
            raise click.ClickException(f"{source}: {error}") from error
    click.echo(
        f"{counts['events']} events stored in {', '.join(sink.name for sink in settings.sinks)}"
        f" ({counts['again']} of them before), {counts['rejected']} rejected",
        err=True,
    )
    sys.exit(1 if counts["rejected"] else 0)


def _split(source: Path, cluster: str, settings: Settings) -> Iterator[files.Done]:
    """Yield what the pieces of one file came to, with a progress bar on a terminal."""
    piped = str(source) == "-"
    with io.FileIO(0, closefd=False) if piped else io.FileIO(source) as raw, io.BufferedReader(raw) as stream:
        size = 0 if piped else os.fstat(raw.fileno()).st_size
        hidden = not (size and sys.stderr.isatty())
        with click.progressbar(length=size, label=str(source), file=sys.stderr, hidden=hidden) as bar:
            for done in files.split(stream, cluster, settings):
                for complaint in done.complaints:
                    click.echo(f"{source}: {complaint}", err=True)
                bar.update(0 if hidden else max(0, raw.tell() - bar.pos))
                yield done


def _settings() -> Settings:
    try:
        return Settings.read(os.environ)
    except SettingsError as error:
        for mistake in error.mistakes:
            click.echo(mistake, err=True)
        sys.exit(_MISUSE)
