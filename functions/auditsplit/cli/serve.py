"""``auditsplit serve``: the function in functions-framework's production server."""

from __future__ import annotations

import importlib.util
import logging
from pathlib import Path

import click

from auditsplit import function
from auditsplit.cli.support.contract import example
from auditsplit.cli.support.environment import open_ingest, read_settings
from auditsplit.serve import listener
from auditsplit.serve.listener import Certificates

_log = logging.getLogger(__name__)
_FILE = click.Path(path_type=Path)
_POSITIVE = click.IntRange(min=1)


@click.command(epilog=example("auditsplit serve --host 0.0.0.0 --port 8443 --certfile tls.crt --keyfile tls.key"))
@click.option("--host", envvar="HOST", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option(
    "--port", envvar="PORT", default=8888, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free port."
)
@click.option("--workers", envvar="WORKERS", type=_POSITIVE, default=1, show_default=True, help="Processes.")
@click.option("--threads", envvar="THREADS", type=_POSITIVE, help="Threads of each process.  [default: 4 per core]")
@click.option("--certfile", type=_FILE, help="Serve HTTPS with this PEM certificate. Requires --keyfile.")
@click.option("--keyfile", type=_FILE, help="The private key of --certfile, without a password.")
@click.option("--client-ca", type=_FILE, help="Require client certificates of these PEM authorities.")
def serve(  # noqa: PLR0913 - the options of a command
    *,
    host: str,
    port: int,
    workers: int,
    threads: int | None,
    certfile: Path | None,
    keyfile: Path | None,
    client_ca: Path | None,
) -> None:
    """Receive audit events over HTTP or HTTPS until SIGTERM, which lets running requests end.

    The log goes to standard error: sentences on a terminal, JSON lines elsewhere. HOST, PORT, WORKERS and THREADS in
    the environment set the options of these names.
    """
    certificates = _certificates(certfile, keyfile, client_ca)
    if not importlib.util.find_spec("functions_framework"):
        raise click.ClickException(
            "serving requires the package functions-framework. Install auditsplit with the extra 'serve': run "
            "pip install '.[serve]' in a clone, or pip install 'FILE.whl[serve]' with the wheel"
        )
    open_ingest(read_settings())
    try:
        listening = listener.listen(host, port)
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    _log.info("listening on %s", listener.url(listening, tls=certificates is not None))
    options: dict[str, object] = {"bind": f"fd://{listening.detach()}", "workers": workers}
    options |= certificates.options() if certificates else {}
    options |= {"threads": threads} if threads else {}
    _run(host, port, options)


def _certificates(certfile: Path | None, keyfile: Path | None, client_ca: Path | None) -> Certificates | None:
    if bool(certfile) != bool(keyfile):
        raise click.UsageError("--certfile and --keyfile require each other")
    if not certfile or not keyfile:
        if client_ca:
            raise click.UsageError("--client-ca requires --certfile and --keyfile")
        return None
    certificates = Certificates(certfile, keyfile, client_ca)
    try:
        certificates.check()
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    return certificates


def _run(host: str, port: int, options: dict[str, object]) -> None:
    """Load the function and run the server, which ends the process."""
    import functions_framework  # noqa: PLC0415 - only serving has it installed
    from functions_framework import _http  # noqa: PLC0415

    app = functions_framework.create_app(function.TARGET, str(function.SOURCE))  # type: ignore[no-untyped-call]
    _http.create_server(app, debug=False, **options).run(host, port)  # type: ignore[no-untyped-call]
