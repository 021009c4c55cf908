"""The options of an Elasticsearch sink's URL."""

from __future__ import annotations

from typing import Annotated

import msgspec

from auditsplit.sinks import options
from auditsplit.sinks.elasticsearch.streams import Streams


class Options(options.Options, frozen=True, kw_only=True):
    """The options of an ``elasticsearch+https:`` or ``elasticsearch+http:`` URL."""

    target: Annotated[
        Streams,
        msgspec.Meta(
            description="the template of the data streams' names, see "
            "[where to](elasticsearch.md#where-to-an-index-a-user-or-one-data-stream)"
        ),
    ] = Streams()
    timeout: options.TimeoutSeconds = 12
    bulk_bytes: Annotated[
        int,
        msgspec.Meta(
            ge=1,
            description="the largest body of a `_bulk` request, before compression. A node counts it five times "
            "against a tenth of its memory. A larger document goes alone",
        ),
    ] = 5_000_000
    compress: Annotated[bool, msgspec.Meta(description="send bodies as gzip")] = True
    ca_file: Annotated[
        str, msgspec.Meta(description="PEM file with the authority of the server's certificate, else the system's")
    ] = ""
    fingerprint: Annotated[
        str, msgspec.Meta(description="SHA-256 of the server's certificate, in place of `ca_file`")
    ] = ""
