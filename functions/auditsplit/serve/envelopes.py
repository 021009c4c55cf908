"""Requests whose events are in an envelope of a managed cloud: Firehose's, and those of Azure's diagnostic settings.

Firehose's requests have an access key, which is the cluster's token, and expect an answer of their own form:
https://docs.aws.amazon.com/firehose/latest/dev/httpdeliveryrequestresponse.html
"""

from __future__ import annotations

import time
from collections.abc import Collection
from http import HTTPStatus

import msgspec

from auditsplit.decode import cloud_logs
from auditsplit.decode.cloud_logs import cloudwatch
from auditsplit.decode.cloud_logs.records import Records, joined
from auditsplit.errors import Undecodable
from auditsplit.serve.messages import Request, Response, json_response

_REQUEST_ID = "x-amz-firehose-request-id"
_ACCESS_KEY = "x-amz-firehose-access-key"


def is_firehose(request: Request) -> bool:
    """Return whether Firehose sent the request."""
    return _REQUEST_ID in request.headers


def with_token(request: Request) -> Request:
    """Return Firehose's request with its access key as the bearer token."""
    headers = {name: value for name, value in request.headers.items() if name != _ACCESS_KEY}
    headers.setdefault("authorization", f"Bearer {request.headers.get(_ACCESS_KEY, '')}")
    return request._replace(headers=headers)


def answer(request: Request, response: Response) -> Response:
    """Return ``response`` in the form that Firehose expects. It tries again after any status but 200 and 413."""
    document = {"requestId": request.headers[_REQUEST_ID][:200], "timestamp": int(time.time() * 1000)}
    if response.status != HTTPStatus.OK:
        document["errorMessage"] = msgspec.json.decode(response.body).get("detail", "not ready")[:4096]
    made = json_response(response.status, document)
    return made._replace(headers={**response.headers, **made.headers})


def records(request: Request, text: bytes, groups: Collection[str], max_bytes: int, *, lines: bool) -> Records | None:
    """Return what the body ``text`` of a request holds. None if its events are in no envelope.

    Args:
        request: The request.
        text: Its body, decompressed.
        groups: The log groups that may send by Firehose. Any may if it is empty.
        max_bytes: How many bytes the envelopes may have together.
        lines: Whether the body has a document on each line.

    Raises:
        BodyTooLarge: The envelopes are larger.
        Undecodable: An envelope is malformed, or is of another log group.
    """
    if is_firehose(request):
        documents = cloudwatch.firehose(text, max_bytes)
        for document in documents:
            if groups and document.log_group not in groups and document.log_events:
                raise Undecodable(
                    f"the log group {document.log_group[:80]!r} is not one of AUDIT_LOG_GROUPS. Add it there, or "
                    "remove its subscription"
                )
        return joined(document.records() for document in documents)
    return cloud_logs.of_lines(text) if lines else cloud_logs.of_body(text)
