"""Documents of CloudWatch Logs' subscriptions, which give out the audit log of EKS.

A document is ``{"messageType":"DATA_MESSAGE","logGroup":…,"logStream":…,"logEvents":[{"message":…}]}``. Lambda gets it
as base64 of gzip, Firehose puts several into ``{"records":[{"data":<base64>}]}``.
https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/SubscriptionFilters.html
"""

from __future__ import annotations

import base64
import binascii
import re

import msgspec

from auditsplit.decode import compression
from auditsplit.decode.cloud_logs.records import Records, decode, of_messages
from auditsplit.errors import Undecodable

AUDIT_STREAM = "kube-apiserver-audit-"
"""How EKS begins the name of a log stream with audit events."""

_GROUP = re.compile(r"/aws/eks/([^/]+)/cluster")
_GZIP_MAGIC = b"\x1f\x8b"
_CONTROL, _DATA = "CONTROL_MESSAGE", "DATA_MESSAGE"


class _LogEvent(msgspec.Struct, gc=False):
    message: str


class Subscription(msgspec.Struct, rename="camel", gc=False):
    """A document of a subscription."""

    message_type: str
    log_group: str = ""
    log_stream: str = ""
    log_events: list[_LogEvent] = []

    @property
    def is_control(self) -> bool:
        """Whether it only asks whether the receiver can be reached."""
        return self.message_type == _CONTROL

    def records(self) -> Records:
        """Return the lines of an audit stream. Those of other streams are skipped."""
        if self.is_control:
            return Records([])
        if not self.log_stream.startswith(AUDIT_STREAM):
            return Records([], len(self.log_events))
        return of_messages(event.message for event in self.log_events)


class _FirehoseRecord(msgspec.Struct, gc=False):
    data: str


class _Firehose(msgspec.Struct, gc=False):
    records: list[_FirehoseRecord]


def cluster_of(log_group: str) -> str:
    """Return the EKS cluster that a log group belongs to. Empty where the group is not a cluster's."""
    match = _GROUP.fullmatch(log_group)
    return match[1] if match else ""


def of_document(document: bytes) -> Records | None:
    """Return what a subscription's document holds. None if ``document`` is not one."""
    found = decode(document, Subscription)
    return found.records() if found and found.message_type in (_DATA, _CONTROL) else None


def subscription(document: bytes) -> Subscription:
    """Return a subscription's document.

    Raises:
        Undecodable: It is not one.
    """
    found = decode(document, Subscription)
    if found is None or found.message_type not in (_DATA, _CONTROL):
        raise Undecodable(
            "expected a document of a CloudWatch Logs subscription with messageType, logGroup, logStream and logEvents"
        )
    return found


def awslogs(data: str, max_bytes: int) -> Subscription:
    """Return the subscription's document in ``awslogs.data`` of a Lambda event: base64 of gzip.

    Raises:
        BodyTooLarge: It has more than ``max_bytes`` bytes.
        Undecodable: It is malformed.
    """
    return subscription(_unzipped(_base64(data), max_bytes))


def firehose(body: bytes, max_bytes: int) -> list[Subscription]:
    """Return the subscription's documents in the body of Firehose's request to an HTTP endpoint.

    Raises:
        BodyTooLarge: Together they have more than ``max_bytes`` bytes.
        Undecodable: The body, or a record, is malformed.
    """
    request = decode(body, _Firehose)
    if request is None:
        raise Undecodable('expected a request of Firehose: {"requestId":…,"timestamp":…,"records":[{"data":…}]}')
    found: list[Subscription] = []
    left = max_bytes
    for record in request.records:
        document = _unzipped(_base64(record.data), left)
        left -= len(document)
        found.append(subscription(document))
    return found


def _base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Undecodable(f"expected base64: {error}") from error


def _unzipped(data: bytes, max_bytes: int) -> bytes:
    return compression.decompress(data, "gzip" if data.startswith(_GZIP_MAGIC) else "", max_bytes)
