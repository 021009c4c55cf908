"""The envelopes of managed clouds give the audit log's own lines."""

from __future__ import annotations

import base64
import io
import json
from collections import Counter
from typing import Any

import pytest
from support.cloud_logs import GROUP, awslogs_event, azure_record, data_message, zipped
from support.eventlists import line
from support.requests import KNOWN, TOKEN, ask, document, ingest_into, memory_sinks, receiver, sink_of, soon

from auditsplit import replay
from auditsplit.decode import cloud_logs
from auditsplit.decode.cloud_logs import cloudwatch
from auditsplit.decode.cloud_logs.records import Records, joined
from auditsplit.errors import BodyTooLarge, NotSubscribed, SettingsError, SinkError, Undecodable
from auditsplit.serve import subscription
from auditsplit.serve.receiver import Receiver
from auditsplit.settings import Settings
from auditsplit.sinks.memory import MemorySink

LINE = '{"kind":"Event","apiVersion":"audit.k8s.io/v1","auditID":"1","n":1e400,"s":"\\ud800 é"}'


def test_a_line_of_eks_keeps_its_own_bytes() -> None:
    """Big numbers, escapes and non-ASCII text survive the envelope."""
    found = cloudwatch.awslogs(zipped(data_message(LINE, LINE + "\n")), 10**6)

    assert cloudwatch.cluster_of(found.log_group) == "prod"
    assert found.records().lines == [LINE.encode()] * 2
    assert found.records().text == (LINE.encode() + b"\n") * 2


def test_other_streams_of_eks_are_skipped_and_counted() -> None:
    """The scheduler's log is in the same log group."""
    found = cloudwatch.subscription(json.dumps(data_message("a", "b", stream="kube-scheduler-1")).encode())

    assert found.records() == Records([], skipped=2)


def test_a_control_message_holds_nothing() -> None:
    """CloudWatch Logs sends one to learn whether the function can be reached."""
    document = {
        **data_message("CWL CONTROL MESSAGE: Checking health of destination."),
        "messageType": "CONTROL_MESSAGE",
    }

    assert cloudwatch.subscription(json.dumps(document).encode()).records() == Records([])


@pytest.mark.parametrize("group", ["/aws/eks/prod/cluster/x", "/aws/lambda/prod", "/aws/eks//cluster", ""])
def test_a_group_that_is_not_an_eks_cluster_names_none(group: str) -> None:
    """The cluster's name is the part between ``/aws/eks/`` and ``/cluster``."""
    assert cloudwatch.cluster_of(group) == ""


def test_a_request_of_firehose_has_several_documents() -> None:
    """Each record is base64, with gzip inside unless the stream decompresses."""
    plain = base64.b64encode(json.dumps(data_message("b")).encode()).decode()
    body = {"requestId": "r", "timestamp": 1, "records": [{"data": zipped(data_message("a"))}, {"data": plain}]}

    found = cloudwatch.firehose(json.dumps(body).encode(), 10**6)

    assert joined(each.records() for each in found).lines == [b"a", b"b"]


def test_a_request_of_firehose_is_bounded_as_a_whole() -> None:
    """Many small records that decompress to much cannot fill the memory."""
    record = {"data": zipped(data_message("a" * 6000))}
    body = json.dumps({"requestId": "r", "timestamp": 1, "records": [record] * 3}).encode()

    with pytest.raises(BodyTooLarge):
        cloudwatch.firehose(body, 13_000)


@pytest.mark.parametrize(
    "document", [b"", b"{}", b"[]", b'{"messageType":"OTHER"}', b'{"messageType":"DATA_MESSAGE","logEvents":[1]}']
)
def test_a_document_that_is_no_subscription_is_refused(document: bytes) -> None:
    """The error says what was expected."""
    with pytest.raises(Undecodable, match="CloudWatch Logs subscription"):
        cloudwatch.subscription(document)


@pytest.mark.parametrize("data", ["=", "AAA", "é", base64.b64encode(b"\x1f\x8bbroken").decode()])
def test_broken_base64_and_gzip_are_refused(data: str) -> None:
    """No fault of the envelope is a fault of the function."""
    with pytest.raises(Undecodable):
        cloudwatch.awslogs(data, 10**6)


def test_records_of_event_hubs_give_their_lines() -> None:
    """Both categories are audit logs. Records of other categories are skipped and counted."""
    records = [azure_record(LINE + "\n"), azure_record("x", "kube-scheduler"), azure_record(LINE, "kube-audit-admin")]
    document = json.dumps({"records": records}).encode()

    assert cloud_logs.of_body(document) == cloud_logs.unwrapped(document)
    assert cloud_logs.unwrapped(document) == Records([LINE.encode()] * 2, skipped=1)


def test_a_record_of_a_storage_account_gives_its_line() -> None:
    """A storage account has a record on each line."""
    assert cloud_logs.unwrapped(json.dumps(azure_record(LINE)).encode()) == Records([LINE.encode()])


@pytest.mark.parametrize(
    ("properties", "line_of"),
    [
        (json.dumps({"log": LINE}), LINE),
        ({"log": {"kind": "Event", "auditID": "ä"}}, '{"kind":"Event","auditID":"ä"}'),
        (json.dumps({"log": {"kind": "Event"}}), '{"kind":"Event"}'),
        ("no JSON", ""),
        ({"log": 7}, ""),
        ([], ""),
    ],
)
def test_properties_of_azure_may_have_other_forms(properties: object, line_of: str) -> None:
    """Some exports have them as a string, or the event as an object. One without an event hides no other."""
    odd = {"category": "kube-audit", "properties": properties}
    found = cloud_logs.of_body(json.dumps({"records": [odd, azure_record(LINE)]}).encode())

    assert found is not None
    assert found.lines == [line_of.encode(), LINE.encode()]
    assert found.cut == (not line_of)


def test_a_hub_may_have_metrics_among_its_records() -> None:
    """They have neither a category nor properties, and must not hide the audit records beside them."""
    metric = {"count": 4, "metricName": "node_cpu", "resourceId": "/SUBSCRIPTIONS/1"}
    found = cloud_logs.of_body(json.dumps({"records": [metric, azure_record(LINE)]}).encode())

    assert found == Records([LINE.encode()], skipped=1)


def test_bytes_that_are_not_utf_8_come_out_as_they_are() -> None:
    """A user can put them into a header."""
    raw = json.dumps({"records": [azure_record('{"kind":"Event","userAgent":"@"}')]}).encode().replace(b"@", b"\xff")
    found = cloud_logs.of_body(raw)

    assert found is not None
    assert found.lines == [b'{"kind":"Event","userAgent":"\xff"}']


def test_a_line_that_azure_cut_is_counted() -> None:
    """Azure cuts long lines. What is left is malformed, and is rejected with its bytes."""
    found = cloud_logs.unwrapped(json.dumps(azure_record(LINE[:40])).encode())

    assert found == Records([LINE[:40].encode()], cut=1)


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
        cloud_logs.of_body(b'{"protoPayload":{"@type":"type.googleapis.com/google.cloud.audit.AuditLog"}}')


# Over HTTP, from files, and on Lambda.

FIREHOSE = {"x-amz-firehose-request-id": "r-1", "x-amz-firehose-access-key": TOKEN, "content-type": "application/json"}


def firehose_body(*documents: object) -> bytes:
    """Return a request of Firehose."""
    return json.dumps(
        {"requestId": "r-1", "timestamp": 1, "records": [{"data": zipped(d)} for d in documents]}
    ).encode()


def mixed_records() -> list[dict[str, Any]]:
    """Return an event, a record of another log, and an event that was cut."""
    return [azure_record(line("alice").decode()), azure_record("x", "guard"), azure_record(line("bob")[:50].decode())]


def test_event_hubs_may_post_its_envelope(caplog: pytest.LogCaptureFixture) -> None:
    """The sink has the line, the malformed one is rejected, and the log says what was left out and cut."""
    function = receiver()

    with caplog.at_level("INFO", "auditsplit"):
        answer = ask(function, json.dumps({"records": mixed_records()}).encode())

    assert document(answer)["events"] == 1
    assert len(document(answer)["rejected"]) == 1
    assert sink_of(function).objects["alice"] == line("alice") + b"\n"
    fields = caplog.records[-1].__dict__["fields"]
    assert (fields["skipped"], fields["truncated"], fields["rejected"]) == (1, 1, 1)


def test_records_of_azure_may_be_posted_on_lines() -> None:
    """As a storage account has them. A line without an envelope among them is an event as usual."""
    function = receiver()
    lines = [*(json.dumps(record).encode() for record in mixed_records()[:2]), line("bob")]

    answer = ask(function, b"\n".join(lines), headers={"content-type": "application/x-ndjson"})

    assert document(answer)["events"] == 2
    assert sink_of(function).objects["bob"] == line("bob") + b"\n"


def test_an_envelope_without_audit_events_is_acknowledged() -> None:
    """There is nothing to store, and nothing to send again."""
    answer = ask(receiver(), json.dumps({"records": [azure_record("x", "guard")]}).encode())

    assert document(answer)["events"] == 0


def test_an_envelope_again_is_stored_once() -> None:
    """The lines in it are the batch's bytes."""
    function, body = receiver(), json.dumps({"records": [azure_record(line("alice").decode())]}).encode()
    ask(function, body)

    assert document(ask(function, body))["alreadyStored"] is True


def test_firehose_authenticates_by_its_access_key_and_gets_its_own_answer() -> None:
    """The key is the cluster's token."""
    function = receiver(tokens=True)

    answer = ask(function, firehose_body(data_message(line("alice").decode())), headers=FIREHOSE, peer="203.0.113.7")

    parsed = json.loads(answer.body)
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "application/json"
    assert set(parsed) == {"requestId", "timestamp"}
    assert parsed["requestId"] == "r-1"
    assert sink_of(function).objects["alice"] == line("alice") + b"\n"


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({"x-amz-firehose-access-key": "wrong"}, firehose_body(), 401),
        ({"x-amz-firehose-access-key": ""}, firehose_body(), 401),
        ({}, b"{}", 400),
        ({}, firehose_body({"messageType": "OTHER"}), 400),
        ({}, firehose_body(data_message("x" * 200_000)), 413),
    ],
)
def test_firehose_gets_its_errors_in_its_own_form(headers: dict[str, str], body: bytes, status: int) -> None:
    """With an errorMessage, which it writes to its log."""
    answer = ask(receiver(tokens=True), body, headers={**FIREHOSE, **headers}, peer="203.0.113.7")

    parsed = json.loads(answer.body)
    assert answer.status == status
    assert set(parsed) == {"requestId", "timestamp", "errorMessage"}
    assert parsed["errorMessage"]


def test_a_probe_with_a_header_of_firehose_is_no_fault() -> None:
    """Its answer has no detail."""
    function = receiver()
    for path in ("/healthz", "/readyz", "/metrics", "/other"):
        assert ask(function, b"", headers=FIREHOSE, method="GET", path=path).status in (200, 401, 403, 404, 503)


def test_firehose_may_send_only_named_log_groups() -> None:
    """Where the settings name any."""
    settings = Settings(sinks=(), tokens=(KNOWN,), log_groups={GROUP: "prod"})
    function = Receiver(settings, ingest_into(memory_sinks(1)))
    other = data_message(line("alice").decode(), group="/aws/eks/other/cluster")

    answers = [ask(function, firehose_body(each), headers=FIREHOSE) for each in (data_message(line().decode()), other)]

    assert [answer.status for answer in answers] == [200, 400]
    assert "AUDIT_LOG_GROUPS" in json.loads(answers[1].body)["errorMessage"]


def test_files_may_have_envelopes_on_their_lines() -> None:
    """As a storage account and an export of Event Hubs have them."""
    sink = memory_sinks(1)[0]
    documents = [*mixed_records(), {"records": mixed_records()}, data_message(line("carol").decode())]
    text = b"".join(json.dumps(each).encode() + b"\n" for each in documents)

    pieces = list(replay.split(io.BufferedReader(io.BytesIO(text)), "prod", ingest_into([sink]), 10**6))

    counts = sum((Counter(piece.counts) for piece in pieces), Counter[str]())
    assert sink.objects["alice"] == (line("alice") + b"\n") * 2
    assert sink.objects["carol"] == line("carol") + b"\n"
    assert (counts["events"], counts["rejected"], counts["skipped"]) == (3, 2, 2)


def test_a_file_of_google_clouds_log_is_refused_by_name() -> None:
    """Nothing in it is an event."""
    file = io.BufferedReader(io.BytesIO(b'{"insertId":"1","protoPayload":{}}\n'))

    with pytest.raises(Undecodable, match="LogEntry of Google Cloud"):
        list(replay.split(file, "prod", ingest_into(memory_sinks(1)), 10**6))


def subscribed(document: object, *sinks: MemorySink) -> dict[str, Any]:
    """Return what the subscription's receiver returns, with the log group of ``prod`` in the settings."""
    settings = Settings(sinks=(), log_groups={GROUP: "prod"})
    event = awslogs_event(document)
    assert subscription.is_subscription(event)
    return subscription.receive(event, settings, ingest_into(sinks or memory_sinks(1)), soon())


def test_a_subscription_is_stored_under_its_cluster() -> None:
    """Its lines are a batch, so a second invocation stores nothing."""
    sink = memory_sinks(1)[0]
    first = subscribed(data_message(line("alice").decode(), "no event"), sink)
    second = subscribed(data_message(line("alice").decode(), "no event"), sink)

    assert sink.objects["alice"] == line("alice") + b"\n"
    assert (first["cluster"], first["events"], len(first["rejected"])) == ("prod", 1, 1)
    assert (first["alreadyStored"], second["alreadyStored"]) == (False, True)


@pytest.mark.parametrize(
    ("document", "events"),
    [
        ({**data_message("CWL CONTROL MESSAGE"), "messageType": "CONTROL_MESSAGE", "logGroup": ""}, 0),
        (data_message("a", stream="kube-scheduler-1"), 0),
        (data_message("no event"), 0),
    ],
)
def test_a_subscription_without_events_is_no_error(document: object, events: int) -> None:
    """Lambda need not try again. Malformed lines are in ``_rejected/``."""
    assert subscribed(document)["events"] == events


def test_a_log_group_that_no_setting_names_is_an_error_of_the_invocation() -> None:
    """Lambda keeps the event in the dead-letter queue."""
    with pytest.raises(NotSubscribed, match="AUDIT_LOG_GROUPS"):
        subscribed(data_message("x", group="/aws/eks/other/cluster"))


def test_a_sink_that_fails_is_an_error_of_the_invocation() -> None:
    """Lambda tries again."""
    sink = memory_sinks(1)[0]
    sink.failure = SinkError("full")

    with pytest.raises(SinkError):
        subscribed(data_message(line().decode()), sink)


@pytest.mark.parametrize(
    ("setting", "groups"),
    [
        (GROUP, {GROUP: "prod"}),
        (f"a={GROUP} /aws/eks/b/cluster", {GROUP: "a", "/aws/eks/b/cluster": "b"}),
    ],
)
def test_log_groups_name_their_clusters(setting: str, groups: dict[str, str]) -> None:
    """By the name between ``/aws/eks/`` and ``/cluster``, or by the setting. Lambda needs no token then."""
    environ = {"AUDIT_LOG_GROUPS": setting, "AUDIT_SINKS": "memory:", "AWS_LAMBDA_FUNCTION_NAME": "audit"}

    assert Settings.read(environ).log_groups == groups


@pytest.mark.parametrize("setting", ["/aws/lambda/x", "/aws/eks/Prod_1/cluster", "A=/aws/eks/prod/cluster"])
def test_a_log_group_without_a_valid_cluster_is_a_mistake(setting: str) -> None:
    """The message says what to write."""
    with pytest.raises(SettingsError, match=r"AUDIT_LOG_GROUPS: .*<cluster>=<log group>"):
        Settings.read({"AUDIT_LOG_GROUPS": setting})
