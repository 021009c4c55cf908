"""A request's log line, figures, metrics and spans."""

from __future__ import annotations

import gzip
import hashlib
import json
import logging
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import jsonschema
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from support.eventlists import event, eventlist
from support.metrics import EMBEDDED
from support.requests import BODY, JSON, ask, receiver, sink_of
from support.server import Server

from auditsplit.errors import SinkError
from auditsplit.telemetry import logs, traces

DOWN = SinkError("the disk is full")
TRUNCATED = {"audit.k8s.io/truncated": "true"}


@pytest.fixture
def lines() -> Iterator[list[dict[str, Any]]]:
    """Return a list to which each log line is added, read back from JSON."""
    found: list[dict[str, Any]] = []

    class _Lines(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            text = logs.JsonLines().format(record)
            assert "\n" not in text
            found.append(json.loads(text))

    log, handler = logging.getLogger("auditsplit"), _Lines()
    level = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    yield found
    log.removeHandler(handler)
    log.setLevel(level)


def ago(seconds: float) -> str:
    """Return the time ``seconds`` ago, as the apiserver writes it."""
    return (datetime.now(UTC) - timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def test_a_batch_is_a_line(lines: list[dict[str, Any]]) -> None:
    """With cluster, batch, events, users, bytes, phases, outcome and status, and without names of users."""
    body = eventlist([event("alice", annotations=TRUNCATED), event("bob", stageTimestamp=ago(60)), b"42"])
    here = receiver()

    answer = ask(here, body)

    [line] = lines
    phases = line.pop("phases")
    assert list(phases) == ["read", "decode", "transform", "write memory:"]
    assert all(0 <= seconds < 30 for seconds in phases.values())
    assert line.pop("delaySeconds") > 59
    assert line.pop("bytesOut") == sum(map(len, sink_of(here).objects.values()))
    assert (line["severity"], line["status"], line["code"]) == ("WARNING", 200, "rejected")
    assert line["batch"] == json.loads(answer.body)["batch"]
    expected = {"cluster": "default", "events": 2, "users": 2, "rejected": 1, "truncated": 1, "duplicates": 0}
    assert expected.items() <= line.items()
    assert line["bytesIn"] == len(body)
    assert not {"alice", "bob"} & set(json.dumps(line).split('"'))


def test_every_field_of_a_line_has_its_meaning(lines: list[dict[str, Any]]) -> None:
    """The docs show the fields in the same order."""
    ask(receiver(), BODY)

    assert list(lines[0]) == list(logs.HELP)


def test_a_retry_is_logged_as_duplicates(lines: list[dict[str, Any]]) -> None:
    """With the message and the count of events."""
    here = receiver()
    for _ in range(2):
        ask(here, BODY)

    assert [(line["message"], line["duplicates"], line["severity"]) for line in lines] == [
        ("3 events stored", 0, "INFO"),
        ("3 events were stored before", 3, "INFO"),
    ]


@pytest.mark.parametrize(
    ("break_it", "body", "told"),
    [
        (lambda _: None, b"{", (400, "undecodable", "WARNING")),
        (lambda _: None, b"x" * 100_001, (413, "body-too-large", "WARNING")),
        (lambda here: setattr(sink_of(here), "failure", DOWN), BODY, (503, "sink", "ERROR")),
        (lambda here: setattr(sink_of(here), "write", None), BODY, (500, "fault", "ERROR")),
    ],
)
def test_a_failure_is_a_line_with_a_code(
    break_it: Callable[[Any], None], body: bytes, told: tuple[int, str, str], lines: list[dict[str, Any]]
) -> None:
    """The answer has the same code. Only a fault has a stack."""
    here = receiver()
    break_it(here)

    answer = ask(here, body)

    [line] = lines
    assert (line["status"], line["code"], line["severity"]) == told
    assert json.loads(answer.body)["code"] == line["code"]
    assert ("stack" in line) == (line["code"] == "fault")


def test_probes_are_not_logged(lines: list[dict[str, Any]]) -> None:
    """They would fill the log."""
    here = receiver()
    for path in ("/healthz", "/readyz"):
        assert ask(here, method="GET", path=path).status == 200

    assert lines == []


def test_a_sender_cannot_forge_a_log_line(lines: list[dict[str, Any]]) -> None:
    """Line breaks and quotes in names stay inside the JSON string."""
    fake = '\n{"severity":"INFO","message":"all is well"}\n'

    ask(receiver(), eventlist([event("x"), json.dumps({"kind": fake}).encode()]), path="/")
    ask(receiver(), b"", path="/" + fake)

    assert len(lines) == 2
    assert all(line["message"] != "all is well" for line in lines)


def test_a_terminal_gets_a_sentence_without_control_characters() -> None:
    """The line has the message, the outcome and the sender. A sender's escape sequences and line breaks are escaped."""
    fields = {"status": 401, "code": "unauthorized", "cluster": "", "peer": "\x1b[2J\n192.0.2.1", "events": 3}
    record = logging.makeLogRecord({"levelname": "WARNING", "msg": "refused", logs.FIELDS: fields})

    line = logs.HumanLines().format(record)

    assert line.partition(" ")[2] == (r"WARNING refused  [status=401 code=unauthorized peer=\x1b[2J\n192.0.2.1]")


def test_a_fault_on_a_terminal_has_its_stack() -> None:
    """A fault of auditsplit itself can be reported with it."""
    error = ValueError("wrong")
    record = logging.makeLogRecord({"levelname": "ERROR", "msg": "a fault", "exc_info": (ValueError, error, None)})

    assert "ValueError: wrong" in logs.HumanLines().format(record)


def test_nothing_of_an_event_is_in_the_log(serve: Callable[..., Server]) -> None:
    """Whether the body is stored, rejected, refused, broken off, or the sink fails."""
    mark = "never-to-be-logged"
    server = serve(AUDIT_SINKS="file:log?fsync=0", AUDIT_MAX_BODY_BYTES="100000")
    items = [event(mark, requestURI=mark, requestObject={mark: mark}), f'"{mark}"'.encode(), f'{{"{mark}":1}}'.encode()]
    odd = [f'{{"user":"{mark}"}}', f'{{"stage":["{mark}"]}}', f'{{"user":{{"username":{{"{mark}":1}}}}}}']
    bodies = [
        *(eventlist(items), eventlist([text.encode() for text in odd])),
        *(mark.encode(), f'{{"kind":"EventList","items":[{{"{mark}":1}},{mark}]}}'.encode()),
        *(mark.encode() * 10_000, b"\xff" + mark.encode(), event(mark)[:-1]),
    ]

    statuses = [server.post(body).status for body in bodies]
    statuses += [server.post(gzip.compress(body)[:-3], Content_Encoding="gzip").status for body in bodies]
    (server.folder / "log" / f"kube-audit-{mark}-2").touch()  # where a folder should be
    statuses.append(server.post(eventlist([event(f"{mark}-2")]), Authorization=f"Bearer {mark}").status)

    text = server.log.read_text()
    assert {200, 400, 413, 503} <= set(statuses)
    assert text.count('"logger":"auditsplit.serve.receiver"') == len(statuses)
    assert mark not in text


def test_on_lambda_a_batch_is_a_metric_too(lines: list[dict[str, Any]]) -> None:
    """In the embedded metric format: every metric that is named is a number at the line's root."""
    ask(receiver(), eventlist([event(stageTimestamp=ago(1))]))
    del lines[0]["time"], lines[0]["severity"], lines[0]["logger"]
    record = logging.makeLogRecord({"msg": "x", "levelno": logging.INFO, logs.FIELDS: lines[0]})

    line = json.loads(logs.JsonLines(embedded_metrics=True).format(record))

    jsonschema.validate(line, EMBEDDED)
    [directive] = line["_aws"]["CloudWatchMetrics"]
    assert directive["Namespace"] == "auditsplit"
    assert directive["Dimensions"] == [["cluster"]]
    assert {metric["Name"] for metric in directive["Metrics"]} == set(logs.UNITS)
    assert all(isinstance(line[metric["Name"]], int | float) for metric in directive["Metrics"])
    assert abs(line["_aws"]["Timestamp"] / 1000 - datetime.now(UTC).timestamp()) < 60


@pytest.mark.parametrize(
    ("status", "duplicates", "stored"), [(200, 0, 4), (200, 4, 0), (503, 0, 0)], ids=["stored", "retry", "failed"]
)
def test_on_lambda_stored_events_are_counted_once(status: int, duplicates: int, stored: int) -> None:
    """Retries and failed batches don't count. The time of all sinks is one figure."""
    phases = {"read": 0.1, "decode": 0.2, "transform": 0.05, "write file:a": 1.0, "write s3://b": 2.0}
    fields = {"batch": "b", "cluster": "prod", "events": 4, "status": status, "duplicates": duplicates}
    fields["phases"] = phases
    record = logging.makeLogRecord({"msg": "x", logs.FIELDS: fields})

    line = json.loads(logs.JsonLines(embedded_metrics=True).format(record))

    assert line["stored"] == stored
    assert [line[f"{phase}Seconds"] for phase in ("read", "decode", "transform", "write")] == [0.1, 0.2, 0.05, 3.0]


@pytest.mark.parametrize("fields", [{}, {"batch": "", "cluster": ""}])
def test_a_line_without_a_batch_has_no_metrics(fields: dict[str, str]) -> None:
    """Such as a line of the start, or of a refused sender."""
    record = logging.makeLogRecord({"msg": "hello", "levelno": logging.INFO, logs.FIELDS: fields})

    assert "_aws" not in json.loads(logs.JsonLines(embedded_metrics=True).format(record))


@pytest.mark.parametrize("items", [[], [b"42"], [event(stageTimestamp=None, requestReceivedTimestamp=None)]])
def test_without_a_time_there_is_no_delay(items: list[bytes], lines: list[dict[str, Any]]) -> None:
    """An empty list is delivered, and so is a list of events without timestamps."""
    ask(receiver(), eventlist(items))

    assert lines[0]["delaySeconds"] is None


def test_a_clock_behind_makes_no_delay(lines: list[dict[str, Any]]) -> None:
    """An event from the future has a delay of 0, not of minus an hour."""
    ask(receiver(), eventlist([event(stageTimestamp=ago(-3600))]))

    assert lines[0]["delaySeconds"] == 0


def test_each_phase_is_a_span_with_opentelemetry() -> None:
    """The span of a write has the sink's name. The span of a failed write is marked."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    here = receiver()
    ask(here, BODY)
    sink_of(here).failure = DOWN
    ask(here, BODY + b" ")

    spans = [(span.name, dict(span.attributes or {}), span.status.is_ok) for span in exporter.get_finished_spans()]

    assert spans == [
        ("auditsplit read", {}, True),
        ("auditsplit decode", {}, True),
        ("auditsplit transform", {}, True),
        ("auditsplit write", {"auditsplit.sink": "memory:"}, True),
        ("auditsplit read", {}, True),
        ("auditsplit decode", {}, True),
        ("auditsplit transform", {}, True),
        ("auditsplit write", {"auditsplit.sink": "memory:"}, False),
    ]


@pytest.mark.parametrize("missing", ["opentelemetry", "opentelemetry.sdk"])
def test_opentelemetry_is_optional(missing: str) -> None:
    """Without the SDK, or without the API too, no span is made and nothing of OpenTelemetry is imported."""
    program = f"""
import sys, importlib.abc
class Missing(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name == {missing!r}: raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Missing())
from auditsplit.telemetry import traces
with traces.span("read"): pass
print("opentelemetry.trace" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True)

    assert done.stdout == "False\n"
    assert traces.span("read") is not None


# Metrics, through the real server: they are the sum over its processes.


def samples(server: Server) -> dict[str, float]:
    """Return the server's metrics by name with labels."""
    answer = server.request("GET", "/metrics")
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/plain")
    return {
        name: float(value)
        for name, _, value in (text.rpartition(" ") for text in answer.body.decode().splitlines() if text[0] != "#")
    }


def test_metrics_are_the_sum_of_all_workers(serve: Callable[..., Server]) -> None:
    """Every worker reports the same. Retries, refusals and malformed items are counted apart. No user is named."""
    server = serve(WORKERS="3", AUDIT_SINKS="file:log?fsync=0 file:other?fsync=0")
    deadline = time.monotonic() + 30
    while len(server.workers()) < 3:  # the first answers before the last is there
        assert time.monotonic() < deadline
        time.sleep(0.01)
    bodies = [
        eventlist([event("alice", auditID=str(n), annotations=TRUNCATED), event("bob"), b"42"]) for n in range(30)
    ]
    assert [server.post(body).status for body in bodies] == [200] * 30
    assert [server.post(body).status for body in bodies[:10]] == [200] * 10
    assert server.post(b"{").status == 400
    assert server.post(BODY, "/clusters/elsewhere").status == 200
    assert server.request("GET", "/nowhere").status == 404

    answers = [samples(server) for _ in range(6)]
    text = server.request("GET", "/metrics").body.decode()

    assert all(answer == answers[0] for answer in answers)
    found = answers[0]
    default = '{cluster="default"}'
    assert found[f"auditsplit_events_received_total{default}"] == 80
    assert found[f"auditsplit_events_stored_total{default}"] == 60
    assert found[f"auditsplit_events_duplicate_total{default}"] == 20
    assert found[f"auditsplit_events_rejected_total{default}"] == 40
    assert found[f"auditsplit_events_truncated_total{default}"] == 40
    assert found['auditsplit_requests_total{cluster="default",status="200"}'] == 40
    assert found['auditsplit_requests_total{cluster="default",status="400"}'] == 1
    assert found['auditsplit_requests_total{cluster="default",status="503"}'] == 0
    assert found['auditsplit_requests_total{cluster="other",status="200"}'] == 1
    assert found[f"auditsplit_received_bytes_total{default}"] == sum(map(len, bodies + bodies[:10])) + 1
    files = [path for path in (server.folder / "log").iterdir() if path.name.startswith("kube-audit")]
    assert files
    written = [value for name, value in found.items() if name.startswith("auditsplit_written_bytes_total")]
    assert sum(written) == 2 * sum((file / "audit").stat().st_size for file in files)
    assert found['auditsplit_phase_seconds_count{phase="decode",sink=""}'] == 42
    assert found['auditsplit_phase_seconds_count{phase="write",sink="file:other"}'] == 42
    assert found[f"auditsplit_oldest_event_delay_seconds_count{default}"] == 40
    assert "alice" not in text
    assert "elsewhere" not in text


def test_metrics_are_exact_with_workers_and_threads(serve: Callable[..., Server]) -> None:
    """With 16 senders at once, two workers of four threads, and clusters that are not configured."""
    server = serve(WORKERS="2", THREADS="4", AUDIT_SINKS="file:log?fsync=0")
    bodies = [eventlist([event(f"user-{n % 7}", auditID=f"{n}-{i}") for i in range(n % 5 + 1)]) for n in range(150)]
    broken = [f"no JSON {n}".encode() for n in range(30)]
    with ThreadPoolExecutor(16) as senders:
        stored = list(senders.map(server.post, bodies))
        again = list(senders.map(server.post, bodies[:50]))
        refused = list(senders.map(server.post, broken))
        others = list(senders.map(lambda n: server.post(BODY, f"/clusters/made-up-{n}"), range(20)))

    found = samples(server)

    assert [{answer.status for answer in answers} for answers in (stored, again, refused, others)] == [
        {200},
        {200},
        {400},
        {200},
    ]
    default = '{cluster="default"}'
    assert found[f"auditsplit_events_stored_total{default}"] == sum(n % 5 + 1 for n in range(150))
    assert found[f"auditsplit_events_duplicate_total{default}"] == sum(n % 5 + 1 for n in range(50))
    assert found[f"auditsplit_received_bytes_total{default}"] == sum(map(len, [*bodies, *bodies[:50], *broken]))
    assert found['auditsplit_requests_total{cluster="default",status="200"}'] == 200
    assert found['auditsplit_requests_total{cluster="default",status="400"}'] == 30
    assert found['auditsplit_requests_total{cluster="other",status="200"}'] == 20
    assert found['auditsplit_phase_seconds_count{phase="read",sink=""}'] == 250
    labels = {pair for name in found for pair in re.findall(r'(\w+)="([^"]*)"', name)}
    assert {value for label, value in labels if label == "cluster"} == {"default", "other"}
    assert {label for label, _ in labels} == {"cluster", "status", "sink", "phase", "le"}


def test_metrics_survive_a_worker(serve: Callable[..., Server]) -> None:
    """The counts of a killed worker stay. The folder is removed when the server ends."""
    server = serve(WORKERS="1")
    server.post(BODY)
    [worker] = server.workers()
    [folder] = {file.path.rpartition("/")[0] for file in worker.memory_maps() if "auditsplit-metrics-" in file.path}
    worker.kill()
    worker.wait()

    assert server.post(BODY + b" ").status == 200
    assert samples(server)['auditsplit_events_stored_total{cluster="default"}'] == 6
    server.process.terminate()
    server.process.wait(30)
    assert subprocess.run(["test", "-e", folder], check=False).returncode == 1


def test_metrics_are_for_this_machine_or_a_token(serve: Callable[..., Server]) -> None:
    """Requests through a proxy are refused. With a hash configured, only requests with the token are accepted."""
    server = serve()
    guest = server.request("GET", "/metrics", headers={"X-Forwarded-For": "192.0.2.1"})
    sha256 = hashlib.sha256(b"watch me").hexdigest()
    locked = serve(AUDIT_METRICS_TOKEN=f"sha256:{sha256}")

    statuses = [
        locked.request("GET", "/metrics", headers=headers).status
        for headers in ({}, {"Authorization": "Bearer no"}, {"Authorization": "Bearer watch me"})
    ]

    assert guest.status == 403
    assert "AUDIT_METRICS_TOKEN" in guest.json()["detail"]
    assert statuses == [401, 401, 200]


def test_a_server_without_metrics_names_the_extra() -> None:
    """So does a platform on which Prometheus can't scrape every instance."""
    answer = ask(receiver(), method="GET", path="/metrics", headers={"content-type": JSON})

    assert answer.status == 404
    assert "the extra 'metrics'" in json.loads(answer.body)["detail"]
