"""``auditsplit elasticsearch``: prepare a cluster so that the sink can write to it."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import click

from auditsplit.cli.support.contract import Group, example
from auditsplit.cli.support.environment import open_ingest, read_settings, refuse
from auditsplit.errors import SinkError

if TYPE_CHECKING:  # the library is an extra
    from auditsplit.sinks.elasticsearch.sink import ElasticsearchSink

_RETENTION = re.compile(r"[1-9][0-9]{0,4}[dhm]")


@click.group(cls=Group, epilog=example("auditsplit elasticsearch setup --retention 30d"))
def elasticsearch() -> None:
    """Prepare the Elasticsearch clusters in AUDIT_SINKS.

    Run setup and then key, once, as an administrator. The credentials in ELASTICSEARCH_API_KEY, or in
    ELASTICSEARCH_USERNAME and ELASTICSEARCH_PASSWORD, require the privileges manage_index_templates and, on the names
    of the data streams, view_index_metadata (setup), and manage_own_api_key or manage_api_key (key). Give the function
    the API key that key prints. With that API key it can only create documents and the data streams for them.
    """


@elasticsearch.command(epilog=example("auditsplit elasticsearch setup --retention 30d --dry-run"))
@click.option("--retention", metavar="TIME", help="Delete documents after TIME, as in 30d.  [default: never]")
@click.option("--dry-run", is_flag=True, help="Only print the requests.")
def setup(retention: str | None, *, dry_run: bool) -> None:
    """Install the mappings and the index template. With them, a user's first event creates the user's data stream.

    Run it again after an upgrade, or to change the retention. Running it twice changes nothing. Existing data streams
    get new mappings when Elasticsearch rolls them over. Change their retention with PUT
    _data_stream/<pattern>/_lifecycle.
    """
    if retention is not None and not _RETENTION.fullmatch(retention):
        raise click.BadParameter(
            f"{retention[:40]!r} is not a valid time. Write a number and d, h or m, as in 30d", param_hint="--retention"
        )
    sinks = _sinks()
    from auditsplit.sinks.elasticsearch import template  # noqa: PLC0415 - the library is an extra

    for sink in sinks:
        if dry_run:
            for path, document in template.documents(sink.streams, retention).items():
                _show("PUT", path, document)
            continue
        try:
            template.install(sink.connected(), sink.streams, retention)
        except SinkError as error:
            raise click.ClickException(f"{sink.name}: {error}") from error
        click.echo(f"{sink.name}: ready. Documents are kept {retention or 'for ever'}", err=True)


@elasticsearch.command(epilog=example("auditsplit elasticsearch key --dry-run"))
@click.option("--name", default="auditsplit", show_default=True, help="The API key's name.")
@click.option("--dry-run", is_flag=True, help="Only print the request.")
def key(name: str, *, dry_run: bool) -> None:
    """Make an API key that can only create documents in the sink's data streams, and the streams, and print it."""
    sinks = _sinks()
    from auditsplit.sinks.elasticsearch import template  # noqa: PLC0415 - the library is an extra

    for sink in sinks:
        if dry_run:
            document = {"name": name, "role_descriptors": template.privileges(sink.streams)}
            _show("POST", "/_security/api_key", document)
            continue
        try:
            click.echo(f"ELASTICSEARCH_API_KEY={template.create_key(sink.connected(), sink.streams, name)}")
        except SinkError as error:
            raise click.ClickException(f"{sink.name}: {error}") from error


def _sinks() -> Sequence[ElasticsearchSink]:
    """Return the Elasticsearch sinks in the settings. Exit if there are none."""
    elastic = [sink for sink in open_ingest(read_settings()).sinks if sink.name.startswith("elasticsearch+")]
    if not elastic:
        refuse(["AUDIT_SINKS: must have an Elasticsearch sink, as in elasticsearch+https://host:9200"])
    return [cast("ElasticsearchSink", sink) for sink in elastic]


def _show(method: str, path: str, document: dict[str, Any]) -> None:
    """Print a request in the format of Kibana's console."""
    click.echo(f"{method} {path}\n{json.dumps(document, indent=2)}\n")
