"""The envelopes of managed clouds give the audit log's own lines."""

from __future__ import annotations

import base64
import gzip
import json
from typing import Any

import pytest

from auditsplit.decode import cloud_logs
from auditsplit.errors import BodyTooLarge, Undecodable

LINE = '{"kind":"Event","apiVersion":"audit.k8s.io/v1","auditID":"1","n":1e400,"s":"\\ud800 é"}'
GROUP = "/aws/eks/prod/cluster"
STREAM = "kube-apiserver-audit-0123456789abcdef"


def data_message(*messages: str, group: str = GROUP, stream: str = STREAM) -> dict[str, Any]:
    """Return a document as CloudWatch Logs gives it to a subscription."""
    return {
        "messageType": "DATA_MESSAGE",
        "owner": "123456789012",
        "logGroup": group,
        "logStream": stream,
        "subscriptionFilters": ["audit"],
        "logEvents": [{"id": str(i), "timestamp": 1732600000000 + i, "message": m} for i, m in enumerate(messages)],
    }


def azure_record(log: str, category: str = "kube-audit") -> dict[str, Any]:
    """Return a record of AKS's diagnostic settings."""
    return {
        "operationName": "Microsoft.ContainerService/managedClusters/diagnosticLogs/Read",
        "category": category,
        "ccpNamespace": "0123456789abcdef",
        "resourceId": "/SUBSCRIPTIONS/0/RESOURCEGROUPS/RG/PROVIDERS/MICROSOFT.CONTAINERSERVICE/MANAGEDCLUSTERS/PROD",
        "properties": {"log": log, "stream": "stdout", "pod": "kube-apiserver-1"},
        "time": "2026-11-26T10:00:00.0000000Z",
    }


def zipped(document: object) -> str:
    """Return ``document`` as base64 of gzip."""
    return base64.b64encode(gzip.compress(json.dumps(document).encode())).decode()


def test_a_line_of_eks_keeps_its_own_bytes() -> None:
    """Big numbers, escapes and non-ASCII text survive the envelope."""
    found = cloud_logs.awslogs(zipped(data_message(LINE, LINE + "\n")), 10**6)

    assert found.cluster == "prod"
    assert found.records().lines == [LINE.encode()] * 2
    assert found.records().text == (LINE.encode() + b"\n") * 2


def test_other_streams_of_eks_are_skipped_and_counted() -> None:
    """The scheduler's log is in the same log group."""
    found = cloud_logs.subscription(json.dumps(data_message("a", "b", stream="kube-scheduler-1")).encode())

    assert found.records() == cloud_logs.Records([], skipped=2)


def test_a_control_message_holds_nothing() -> None:
    """CloudWatch Logs sends one to learn whether the function can be reached."""
    document = {
        **data_message("CWL CONTROL MESSAGE: Checking health of destination."),
        "messageType": "CONTROL_MESSAGE",
    }

    assert cloud_logs.subscription(json.dumps(document).encode()).records() == cloud_logs.Records([])


@pytest.mark.parametrize("group", ["/aws/eks/prod/cluster/x", "/aws/lambda/prod", "/aws/eks//cluster", ""])
def test_a_group_that_is_not_an_eks_cluster_names_none(group: str) -> None:
    """The cluster's name is the part between ``/aws/eks/`` and ``/cluster``."""
    assert cloud_logs.subscription(json.dumps(data_message("x", group=group)).encode()).cluster == ""


def test_a_request_of_firehose_has_several_documents() -> None:
    """Each record is base64, with gzip inside unless the stream decompresses."""
    plain = base64.b64encode(json.dumps(data_message("b")).encode()).decode()
    body = {"requestId": "r", "timestamp": 1, "records": [{"data": zipped(data_message("a"))}, {"data": plain}]}

    found = cloud_logs.firehose(json.dumps(body).encode(), 10**6)

    assert cloud_logs.joined(each.records() for each in found).lines == [b"a", b"b"]


def test_a_request_of_firehose_is_bounded_as_a_whole() -> None:
    """Many small records that decompress to much cannot fill the memory."""
    record = {"data": zipped(data_message("a" * 6000))}
    body = json.dumps({"requestId": "r", "timestamp": 1, "records": [record] * 3}).encode()

    with pytest.raises(BodyTooLarge):
        cloud_logs.firehose(body, 13_000)


@pytest.mark.parametrize(
    "document", [b"", b"{}", b"[]", b'{"messageType":"OTHER"}', b'{"messageType":"DATA_MESSAGE","logEvents":[1]}']
)
def test_a_document_that_is_no_subscription_is_refused(document: bytes) -> None:
    """The error says what was expected."""
    with pytest.raises(Undecodable, match="CloudWatch Logs subscription"):
        cloud_logs.subscription(document)


@pytest.mark.parametrize("data", ["=", "AAA", "é", base64.b64encode(b"\x1f\x8bbroken").decode()])
def test_broken_base64_and_gzip_are_refused(data: str) -> None:
    """No fault of the envelope is a fault of the function."""
    with pytest.raises(Undecodable):
        cloud_logs.awslogs(data, 10**6)


def test_records_of_event_hubs_give_their_lines() -> None:
    """Both categories are audit logs. Records of other categories are skipped and counted."""
    records = [azure_record(LINE + "\n"), azure_record("x", "kube-scheduler"), azure_record(LINE, "kube-audit-admin")]
    document = json.dumps({"records": records}).encode()

    assert cloud_logs.is_envelope(document)
    assert cloud_logs.unwrapped(document) == cloud_logs.Records([LINE.encode()] * 2, skipped=1)


def test_a_record_of_a_storage_account_gives_its_line() -> None:
    """A storage account has a record on each line."""
    assert cloud_logs.unwrapped(json.dumps(azure_record(LINE)).encode()) == cloud_logs.Records([LINE.encode()])


def test_a_line_that_azure_cut_is_counted() -> None:
    """Azure cuts long lines. What is left is malformed, and is rejected with its bytes."""
    found = cloud_logs.unwrapped(json.dumps(azure_record(LINE[:40])).encode())

    assert found == cloud_logs.Records([LINE[:40].encode()], cut=1)


def test_a_lone_surrogate_hides_no_other_record() -> None:
    """A cut may fall between the halves of a surrogate pair."""
    document = b'{"records":[' + json.dumps(azure_record("x")).encode().replace(b'"x"', b'"x\\ud83d"')
    document += b"," + json.dumps(azure_record(LINE)).encode() + b"]}"

    found = cloud_logs.unwrapped(document)

    assert found is not None
    assert found.lines == [b"x\xed\xa0\xbd", LINE.encode()]


@pytest.mark.parametrize(
    "line",
    [
        LINE.encode(),
        b'{"kind":"Event","requestObject":{"category":"kube-audit","properties":{"log":"x"}}}',
        b'{"category":"kube-audit"}',
        b'{"records":1}',
        b"records",
        b"",
    ],
)
def test_a_line_without_an_envelope_is_left_as_it_is(line: bytes) -> None:
    """What a user puts into a body cannot make an event an envelope."""
    assert cloud_logs.unwrapped(line) is None


def test_a_log_entry_of_google_cloud_is_refused_by_name() -> None:
    """GKE's audit log is another model."""
    with pytest.raises(Undecodable, match="LogEntry of Google Cloud"):
        cloud_logs.unwrapped(b'{"protoPayload":{"@type":"type.googleapis.com/google.cloud.audit.AuditLog"}}')
