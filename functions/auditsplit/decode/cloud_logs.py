"""Envelopes of managed clouds: take the lines of an audit log out of them, each unescaped once.

- Amazon EKS: a CloudWatch Logs subscription's document, ``{"messageType":"DATA_MESSAGE","logGroup":…,"logStream":…,
  "logEvents":[{"message":…}]}``. Firehose puts documents of that kind into ``{"records":[{"data":<base64>}]}``.
  https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/SubscriptionFilters.html,
  https://docs.aws.amazon.com/firehose/latest/dev/httpdeliveryrequestresponse.html
- Azure AKS: records of diagnostic settings, ``{"category":"kube-audit","properties":{"log":…}}``, on a line each in a
  storage account, and ``{"records":[…]}`` from Event Hubs.
  https://learn.microsoft.com/azure/aks/monitor-aks-reference

Records of other logs, such as those of the scheduler, are left alone and counted. Google's GKE has no envelope with an
audit event in it: its ``LogEntry`` is another model, and is refused by name.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple, TypeVar

import msgspec

from auditsplit.decode import compression
from auditsplit.errors import Undecodable

T = TypeVar("T")

AUDIT_STREAM = "kube-apiserver-audit-"
"""How EKS begins the name of a log stream with audit events."""

AUDIT_CATEGORIES = ("kube-audit", "kube-audit-admin")
"""The categories of AKS with audit events."""

_EKS_GROUP = re.compile(r"/aws/eks/([^/]+)/cluster")
_GZIP_MAGIC = b"\x1f\x8b"
_CONTROL = "CONTROL_MESSAGE"
_DATA = "DATA_MESSAGE"


class Records(NamedTuple):
    """What an envelope holds."""

    lines: list[bytes]
    """The lines of the audit log, without line feeds."""
    skipped: int = 0
    """Records of other logs."""
    cut: int = 0
    """Lines whose end the cloud cut off. They are among ``lines``, and are malformed."""

    @property
    def text(self) -> bytes:
        """The lines as the body of a batch. The same envelope gives the same bytes."""
        return b"".join(line + b"\n" for line in self.lines)


class Subscription(msgspec.Struct, rename="camel", gc=False):
    """A document of a CloudWatch Logs subscription."""

    message_type: str
    log_group: str = ""
    log_stream: str = ""
    log_events: list[_LogEvent] = []

    @property
    def cluster(self) -> str:
        """The EKS cluster that the log group belongs to. Empty where the group is not a cluster's."""
        match = _EKS_GROUP.fullmatch(self.log_group)
        return match[1] if match else ""

    def records(self) -> Records:
        """Return the lines of an audit stream. Those of other streams are skipped."""
        if self.message_type == _CONTROL:
            return Records([])
        if not self.log_stream.startswith(AUDIT_STREAM):
            return Records([], len(self.log_events))
        return _records(event.message for event in self.log_events)


class _LogEvent(msgspec.Struct, gc=False):
    message: str


class _Properties(msgspec.Struct, gc=False):
    log: str | None = None


class _AzureRecord(msgspec.Struct, gc=False):
    category: str
    properties: _Properties


class _AzureRecords(msgspec.Struct, gc=False):
    records: list[_AzureRecord]


class _FirehoseRecord(msgspec.Struct, gc=False):
    data: str


class _Firehose(msgspec.Struct, gc=False):
    records: list[_FirehoseRecord]


def subscription(document: bytes) -> Subscription:
    """Return the document of a CloudWatch Logs subscription.

    Raises:
        Undecodable: It is not one.
    """
    found = _decode(document, Subscription)
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
    request = _decode(body, _Firehose)
    if request is None:
        raise Undecodable('expected a request of Firehose: {"requestId":…,"timestamp":…,"records":[{"data":…}]}')
    found: list[Subscription] = []
    left = max_bytes
    for record in request.records:
        document = _unzipped(_base64(record.data), left)
        left -= len(document)
        found.append(subscription(document))
    return found


def joined(records: Iterable[Records]) -> Records:
    """Return ``records`` as a single one."""
    all_records = list(records)
    return Records(
        [line for each in all_records for line in each.lines],
        sum(each.skipped for each in all_records),
        sum(each.cut for each in all_records),
    )


def unwrapped(document: bytes) -> Records | None:
    """Return what an envelope on a line of a file, or as a body, holds. None where ``document`` is not an envelope.

    Raises:
        Undecodable: It is a ``LogEntry`` of Google Cloud, which has no audit event of Kubernetes.
    """
    head = document[:_HEAD_BYTES]
    if _GOOGLE.search(head):
        raise Undecodable(
            "this is a LogEntry of Google Cloud's logging. GKE does not give out audit.k8s.io events, so there is "
            "nothing to split. Query Cloud Logging itself"
        )
    if b'"messageType"' in head or b'"logEvents"' in head:
        found = _decode(document, Subscription)
        return found.records() if found and found.message_type in (_DATA, _CONTROL) else None
    if b'"records"' in head:
        several = _decode(document, _AzureRecords)
        return _of_azure(several.records) if several else None
    if b'"category"' in document:
        single = _decode(document, _AzureRecord)
        return _of_azure([single]) if single else None
    return None


_HEAD_BYTES = 256
_GOOGLE = re.compile(rb'\A\s*\{\s*"(?:protoPayload|insertId|logName)"\s*:')


def is_envelope(body: bytes) -> bool:
    """Return whether ``body`` begins as an envelope of Event Hubs, without decoding it."""
    return _EVENT_HUBS.match(body) is not None


_EVENT_HUBS = re.compile(rb'\s*\{\s*"records"\s*:')


def _of_azure(records: list[_AzureRecord]) -> Records:
    audit = [record for record in records if record.category in AUDIT_CATEGORIES]
    found = _records(record.properties.log or "" for record in audit)
    return found._replace(skipped=len(records) - len(audit))


def _records(messages: Iterable[str]) -> Records:
    lines = list(_lines(messages))
    return Records(lines, cut=sum(1 for line in lines if not line.endswith(b"}")))


def _lines(messages: Iterable[str]) -> Iterator[bytes]:
    """Yield each message as a line. An audit line has no line feed, so one within a message is a space."""
    for message in messages:
        yield message.encode(errors="surrogatepass").strip().replace(b"\n", b" ")


def _decode(document: bytes, kind: type[T]) -> T | None:
    """Return ``document`` as ``kind``; None where it is not one.

    A string that the fast parser refuses, such as one with a lone surrogate, must not hide the other records, so the
    standard library's parser then has a try.
    """
    try:
        return msgspec.json.decode(document, type=kind)
    except msgspec.ValidationError:
        return None
    except (msgspec.DecodeError, RecursionError):
        pass
    try:
        return msgspec.convert(json.loads(document.decode(errors="surrogateescape")), kind)
    except (ValueError, RecursionError, msgspec.ValidationError):
        return None


def _base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Undecodable(f"expected base64: {error}") from error


def _unzipped(data: bytes, max_bytes: int) -> bytes:
    return compression.decompress(data, "gzip" if data.startswith(_GZIP_MAGIC) else "", max_bytes)
