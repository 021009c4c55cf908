"""``auditsplit elasticsearch``: what a cluster must have before the store can write to it."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import click

from auditsplit.cli.environment import MISUSE, open_ingest, read_settings
from auditsplit.errors import SinkError

if TYPE_CHECKING:  # the library is an extra
    from auditsplit.sinks.elasticsearch.sink import ElasticsearchSink

_RETENTION = re.compile(r"[1-9][0-9]{0,4}[dhm]")


@click.group()
def elasticsearch() -> None:
    """Prepare the Elasticsearch clusters in AUDIT_SINKS.

    Run both commands once, as an administrator: the credentials in ELASTICSEARCH_API_KEY, or ELASTICSEARCH_USERNAME and
    ELASTICSEARCH_PASSWORD, need manage_index_templates (setup) and manage_own_api_key or manage_api_key (key). Give the
    function the key that the second makes, which may do nothing but create documents.
    """


@elasticsearch.command()
@click.option("--retention", metavar="TIME", help="Delete documents after TIME, as in 30d.  [default: never]")
@click.option("--dry-run", is_flag=True, help="Only print the requests.")
def setup(retention: str | None, *, dry_run: bool) -> None:
    """Install the mappings and the index template, which make each user's data stream at the first event.

    Run it again after an upgrade, or for another retention: the same again changes nothing. Data streams that are there
    get new mappings when Elasticsearch rolls them over, and another retention by PUT _data_stream/<pattern>/_lifecycle.
    """
    from auditsplit.sinks.elasticsearch import template  # noqa: PLC0415 - the library is an extra

    if retention is not None and not _RETENTION.fullmatch(retention):
        raise click.BadParameter("write a number and d, h or m, as in 30d", param_hint="--retention")
    for sink in _sinks():
        if dry_run:
            for path, document in template.documents(sink.streams, retention).items():
                _show("PUT", path, document)
            continue
        try:
            template.install(sink.connected(), sink.streams, retention)
        except SinkError as error:
            raise click.ClickException(f"{sink.name}: {error}") from error
        click.echo(f"{sink.name}: ready; documents are kept {retention or 'for ever'}", err=True)


@elasticsearch.command()
@click.option("--name", default="auditsplit", show_default=True, help="What the key is called.")
@click.option("--dry-run", is_flag=True, help="Only print the request.")
def key(name: str, *, dry_run: bool) -> None:
    """Make an API key that may create documents in the store's data streams and do nothing else, and print it."""
    from auditsplit.sinks.elasticsearch import template  # noqa: PLC0415 - the library is an extra

    for sink in _sinks():
        if dry_run:
            document = {"name": name, "role_descriptors": template.privileges(sink.streams)}
            _show("POST", "/_security/api_key", document)
            continue
        try:
            click.echo(f"ELASTICSEARCH_API_KEY={template.create_key(sink.connected(), sink.streams, name)}")
        except SinkError as error:
            raise click.ClickException(f"{sink.name}: {error}") from error


def _sinks() -> Sequence[ElasticsearchSink]:
    """Return the stores that this is about; exit where there are none."""
    opened = open_ingest(read_settings()).sinks
    found = [sink for sink in opened if sink.name.startswith("elasticsearch+")]
    if not found:
        click.echo("AUDIT_SINKS: no Elasticsearch in it; set it to elasticsearch+https://host:9200, say", err=True)
        sys.exit(MISUSE)
    return [cast("ElasticsearchSink", sink) for sink in found]


def _show(method: str, path: str, document: dict[str, Any]) -> None:
    """Print a request as Kibana's console takes it."""
    click.echo(f"{method} {path}\n{json.dumps(document, indent=2)}\n")
