"""The function through the real functions-framework, as a process: the recorded traffic, hostile bodies, full disks."""

from __future__ import annotations

import contextlib
import gzip
import http.client
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support.recording import DATA, manifest
from support.server import MAIN, SMALL_DISK, Answer, Server, answered, serving

from auditsplit import auth
from auditsplit.routing import names

START = Callable[..., Server]
LOG_PREFIX = b'{"kind":"Event","apiVersion":"audit.k8s.io/v1",'

HOSTILE = {
    "lone surrogate": rb'"\ud800"',
    "nested arrays": b"[" * 9_000 + b"]" * 9_000,
    "nested objects": b'{"a":' * 9_000 + b"1" + b"}" * 9_000,
    "5,000 digits": b"9" * 5_000,
    "1e400": b"1e400",
    "NaN": b"NaN",
    "not UTF-8": b'"\xff\xfe"',
    "control character": b'"\x01"',
    "duplicate keys": b'{"a":1,"a":2,"user":{"username":"eve"}}',
    "brackets in strings": rb'"]}],\"items\":[{"',
}


def event(user: str, number: object, body: bytes = b"null") -> bytes:
    """Return an item whose requestObject is ``body``."""
    reference = b'"objectRef":{"resource":"configmaps"}'
    return b'{"level":"Request","auditID":"%s","stage":"ResponseComplete","user":%s,%s,"requestObject":%s}' % (
        str(number).encode(),
        json.dumps({"username": user}).encode(),
        reference,
        body,
    )


def event_list(*items: bytes) -> bytes:
    """Return the EventList as kube-apiserver writes it."""
    return b'{"kind":"EventList","apiVersion":"audit.k8s.io/v1","metadata":{},"items":[' + b",".join(items) + b"]}\n"


def stored(folder: Path) -> dict[str, list[bytes]]:
    """Return the stored lines by file, of the live files and the rotated ones."""
    return {
        str(path.relative_to(folder)): path.read_bytes().splitlines()
        for path in folder.rglob("*")
        if path.is_file() and not {"_rejected", ".auditsplit"} & set(path.parts)
    }


def audit_ids(folder: Path) -> Counter[str]:
    """Return how often each event is stored; a torn line fails here."""
    return Counter(json.loads(line)["auditID"] for lines in stored(folder).values() for line in lines)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Return one server with the defaults, for requests that leave nothing behind."""
    with serving(tmp_path_factory.mktemp("server"), {}) as running:
        yield running


def test_recorded_traffic_comes_out_as_the_log_backend_wrote_it(serve: START, recorded: list[bytes]) -> None:
    """Every line of the apiserver's own audit log is in its user's file, once, and nothing else is."""
    server = serve(AUDIT_DROP="none")  # the recording has Secrets, with their bodies

    answers = [server.post(body) for body in recorded]

    files = stored(server.folder / "var" / "log")
    events = [entry["events"] for entry in manifest()["lists"]]
    assert [(answer.status, answer.json()["events"]) for answer in answers] == [(200, count) for count in events]
    assert Counter(line for lines in files.values() for line in lines) == Counter(
        (DATA / "audit.log").read_bytes().splitlines()
    )
    users: Counter[str] = Counter()
    for entry in manifest()["lists"]:
        for user, count in entry["users"].items():
            users[names.NO_USER if user == "None" else names.encode(user)] += count
    assert {name: len(lines) for name, lines in files.items()} == {
        f"kube-audit-{user}/audit": count for user, count in users.items()
    }


def test_a_users_events_keep_their_order(serve: START, recorded: list[bytes]) -> None:
    """Within one list, a user's lines stand as the items did."""
    server = serve()
    server.post(recorded[3])

    items = json.loads(recorded[3])["items"]
    for name, lines in stored(server.folder / "var" / "log").items():
        found = [(line["auditID"], line["stage"]) for line in map(json.loads, lines)]
        user = json.loads(lines[0])["user"].get("username")
        sent = [(item["auditID"], item["stage"]) for item in items if item["user"].get("username") == user]
        assert found == sent, name


def test_a_retry_is_answered_200_and_stored_once(serve: START, recorded: list[bytes]) -> None:
    """A batch whose answer got lost is sent again, to any worker, also after a restart."""
    server = serve(WORKERS="2")
    answers = [server.post(recorded[0]) for _ in range(5)]
    server.kill()
    answers.append(serve().post(recorded[0]))

    assert [answer.status for answer in answers] == [200] * 6
    assert [answer.json()["alreadyStored"] for answer in answers] == [False] + [True] * 5
    assert sum(map(len, stored(server.folder / "var" / "log").values())) == 238


@pytest.mark.parametrize("content", ["application/json; charset=utf-8", "application/x-ndjson"])
@pytest.mark.parametrize("encoding", ["identity", "gzip"])
def test_lists_and_lines_plain_and_compressed(serve: START, content: str, encoding: str, recorded: list[bytes]) -> None:
    """Log shippers send the audit log's lines, and both sorts may be compressed."""
    lines = (DATA / "audit.log").read_bytes().splitlines(keepends=True)[:35]
    body = recorded[2] if content.startswith("application/json") else b"".join(lines)
    server = serve()

    answer = server.post(
        gzip.compress(body) if encoding == "gzip" else body, Content_Type=content, Content_Encoding=encoding
    )

    assert (answer.status, answer.json()["events"]) == (200, 35)
    assert all(line.startswith(LOG_PREFIX) for lines in stored(server.folder / "var/log").values() for line in lines)


def test_no_hostile_body_hides_the_events_beside_it(serve: START) -> None:
    """Each body that parsers refuse, beside 399 good events: 400 events are stored, byte for byte."""
    server = serve()
    sent = []
    for kind, body in HOSTILE.items():
        items = [event("alice", f"{kind}-{number}") for number in range(399)]
        items.insert(200, event("mallory", f"{kind}-hostile", body))
        sent += items

        answer = server.post(event_list(*items))

        assert (answer.status, answer.json()["events"], answer.json()["rejected"]) == (200, 400, []), kind
    lines = [line for lines in stored(server.folder / "var" / "log").values() for line in lines]
    assert Counter(lines) == Counter(LOG_PREFIX + item[1:] for item in sent)


def test_hostile_names_have_places_of_their_own(serve: START) -> None:
    """Whatever a user is called, the events lie below the folder, apart from everybody else's."""
    users = ["alice", "Alice", "ALICE", "../../etc/passwd", "a/b", "a%2Fb", ".", "..", "x" * 300, "x" * 301, "\0", "😀"]
    users += ["_no-user", "_rejected", "\ud800", "alice ", "system:serviceaccount:ns:x", "ﬀ", "ff", "\n"]
    nobody = [b'{"auditID":"none","user":{}}', b'{"auditID":"null","user":null}', b'{"auditID":"absent"}']
    nobody += [b'{"auditID":"empty","user":{"username":""}}', b'{"auditID":"nil","user":{"username":null}}']
    server = serve()

    answer = server.post(event_list(*nobody, *(event(user, number) for number, user in enumerate(users))))

    assert answer.json()["events"] == len(users) + len(nobody)
    files = stored(server.folder / "var" / "log")
    assert len(files) == len(users) + 1
    assert len(files["kube-audit-_no-user/audit"]) == len(nobody)
    assert len({name.casefold() for name in files}) == len(files)
    assert all(name.startswith("kube-audit-") and name.count("/") == 1 for name in files)
    assert sorted(path.name for path in server.folder.iterdir()) == ["server.log", "var"]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"{", "brackets are not closed"),
        (b"", "empty"),
        (b"\x00\xff" * 100, "expected '{'"),
        (b'{"kind":"Pod","apiVersion":"v1"}', "got kind 'Pod'"),
        (
            b'{"kind":"EventList","apiVersion":"audit.k8s.io/v1beta1","items":[]}',
            "--audit-webhook-version=audit.k8s.io/v1",
        ),
    ],
)
def test_what_is_no_event_list_is_kept_and_explained(serve: START, body: bytes, reason: str) -> None:
    """400 says why and where the body is kept; five tries of it are one file."""
    server = serve()

    answers = [server.post(body) for _ in range(5)]

    kept = [path for path in (server.folder / "var/log/_rejected").rglob("*") if path.is_file()]
    assert {answer.status for answer in answers} == {400}
    assert answers[0].headers["content-type"] == "application/problem+json"
    assert reason in answers[0].json()["detail"]
    assert [path.read_bytes() for path in kept] == [body]
    assert f"_rejected/default/{kept[0].name}" in answers[0].json()["detail"]


def test_a_bad_item_is_kept_and_the_others_are_stored(serve: START) -> None:
    """One bad item among good ones loses none of them, and the receipt says which and where."""
    server = serve()

    answer = server.post(event_list(event("alice", 1), b"42", event("bob", 2)))

    kept = [path for path in (server.folder / "var/log/_rejected").rglob("*") if path.is_file()]
    assert (answer.status, answer.json()["events"]) == (200, 2)
    assert [item["index"] for item in answer.json()["rejected"]] == [1]
    assert answer.json()["rejected"][0]["kept"][0].endswith(f"var/log/_rejected/default/{kept[0].name}")
    assert kept[0].read_bytes() == b"42"


def test_several_workers_and_senders_at_once(serve: START) -> None:
    """Twelve senders, two workers, every batch sent twice: each event is stored once, no line torn."""
    server = serve(WORKERS="2", AUDIT_FILE_MAXSIZE="1")
    bodies = [
        event_list(
            *(event(f"user-{number % 7}", f"{batch}-{number}", b'"%s"' % (b"x" * 2_000)) for number in range(100))
        )
        for batch in range(60)
    ]

    with ThreadPoolExecutor(12) as senders:
        answers = list(senders.map(server.post, bodies + bodies))

    ids = audit_ids(server.folder / "var" / "log")
    assert {answer.status for answer in answers} == {200}
    assert ids == Counter({f"{batch}-{number}": 1 for batch in range(60) for number in range(100)})
    assert len(server.workers()) == 2


def test_a_kill_under_load_loses_nothing_acknowledged(serve: START) -> None:
    """SIGKILL in the middle of writing: what was answered 200 is there, no line is torn, no batch is half there."""
    server = serve(WORKERS="2")
    acknowledged: list[int] = []
    bodies = {
        batch: event_list(
            *(event(f"user-{number}", f"{batch}-{number}", b'"%s"' % (b"x" * 50_000)) for number in range(7))
        )
        for batch in range(2_000)
    }

    def send(batches: range) -> None:
        for batch in batches:
            try:
                answer = server.post(bodies[batch])
            except (OSError, http.client.HTTPException):
                return
            if answer.status == 200:
                acknowledged.append(batch)

    senders = [threading.Thread(target=send, args=(range(first, 2_000, 4),)) for first in range(4)]
    for sender in senders:
        sender.start()
    while len(acknowledged) < 40:
        time.sleep(0.01)
    server.kill()
    for sender in senders:
        sender.join()
    again = serve()

    ids = audit_ids(server.folder / "var" / "log")
    whole = Counter(identifier.partition("-")[0] for identifier in ids)
    assert set(ids.values()) == {1}
    assert set(whole.values()) == {7}
    assert {str(batch) for batch in acknowledged} <= set(whole)
    last = max(acknowledged)
    assert again.post(bodies[last]).json()["alreadyStored"]


def test_a_full_disk_of_the_metrics_changes_no_answer(serve: START, tmp_path: Path) -> None:
    """The metrics' files are mapped, so a write to a full disk would kill the worker. Here it stops counting."""
    disk = tmp_path / "temporary"
    disk.mkdir()
    made = [auth.new_token(f"cluster-{number}") for number in range(60)]
    tokens = " ".join(str(hashed) for _, hashed in made)
    server = serve(
        before=(*SMALL_DISK, str(disk)),
        TMPDIR=str(disk),
        AUDIT_SINKS=f"file:{tmp_path}/log?key={{cluster}}/{{user}}",
        AUDIT_TOKENS=tokens,
    )
    headers = [{"Authorization": f"Bearer {token}"} for token, _ in made]
    first = server.post(event_list(event("alice", 0)), **headers[0])
    filler = Path(f"/proc/{server.process.pid}/root") / disk.relative_to("/") / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(b"x" * 4096)

    answers = [server.post(event_list(event("alice", 0)), **each) for each in headers]

    assert [answer.status for answer in (first, *answers)] == [200] * 61
    assert server.log.read_text().count("this process counts nothing more for /metrics") == 1
    assert len(list((tmp_path / "log").glob("cluster-*/alice"))) == 60


def test_a_full_disk_is_503_and_nothing_is_half_stored(serve: START, tmp_path: Path) -> None:
    """On a disk of 1 MiB: 503 with Retry-After once it is full, whole batches only, and on when there is room."""
    disk = tmp_path / "disk"
    disk.mkdir()
    server = serve(before=(*SMALL_DISK, str(disk)), AUDIT_SINKS=f"file:{disk}/log")
    inside = Path(f"/proc/{server.process.pid}/root") / disk.relative_to("/") / "log"
    answers: list[Answer] = []
    for batch in range(40):
        items = [event(f"user-{number}", f"{batch}-{number}", b'"%s"' % (b"x" * 5_000)) for number in range(7)]
        answers.append(server.post(event_list(*items)))

    statuses = Counter(answer.status for answer in answers)
    full = next(answer for answer in answers if answer.status == 503)
    whole = Counter(identifier.partition("-")[0] for identifier in audit_ids(inside))
    assert statuses[200] > 2
    assert statuses[503] > 2
    assert full.headers["retry-after"] == "1"
    assert "No space left" in full.json()["detail"]
    assert whole == Counter({str(batch): 7 for batch, answer in enumerate(answers) if answer.status == 200})

    assert server.request("GET", "/healthz").status == 200
    for path in inside.glob("kube-audit-*/audit"):
        path.unlink()
    (inside / ".auditsplit" / "journal").unlink()
    assert server.post(event_list(event("alice", "later"))).status == 200


def test_tokens_bind_senders_to_clusters(serve: START) -> None:
    """No token and a wrong one are 401, another cluster's path 403; rotation lets two tokens in."""
    made = [auth.new_token(cluster) for cluster in ("prod", "prod", "dev")]
    server = serve(
        AUDIT_TOKENS=" ".join(str(known) for _, known in made), AUDIT_SINKS="file:log?key={cluster}/{user}/a"
    )
    (old, _), (new, _), (dev, _) = made

    def status(path: str, token: str | None) -> int:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return server.post(event_list(event("alice", f"{path}{token}")), path, **headers).status

    assert [status("/", old), status("/clusters/prod?timeout=30s", new), status("/", dev)] == [200, 200, 200]
    assert [status("/", None), status("/", "x" * 43), status("/clusters/dev", "x")] == [401, 401, 401]
    assert [status("/clusters/dev", old), status("/clusters/prod", dev), status("/clusters/other", dev)] == [403] * 3
    assert {name: len(lines) for name, lines in stored(server.folder / "log").items()} == {
        "prod/alice/a": 2,
        "dev/alice/a": 1,
    }
    log = server.log.read_text()
    assert not any(token in log for token, _ in made)


def test_without_tokens_only_this_machine_is_served(serve: START) -> None:
    """What a proxy passes on, or a page in a browser posts, is refused with what to set."""
    server = serve()
    body = event_list(event("alice", 1))

    answers = [server.post(body, X_Forwarded_For="203.0.113.9"), server.post(body, Origin="http://evil.example")]

    assert [answer.status for answer in answers] == [403, 403]
    assert "AUDIT_TOKENS" in answers[0].json()["detail"]
    assert "AUDIT_TOKENS is not set" in server.log.read_text()
    assert server.post(body).status == 200


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"])
@pytest.mark.parametrize("path", ["/", "/clusters/prod", "/clusters/prod/?timeout=30s"])
def test_only_post_on_ingest_paths(server: Server, method: str, path: str) -> None:
    """A 2xx to a GET would count as a delivery after a redirect."""
    answer = server.request(method, path)

    assert (answer.status, answer.headers["allow"]) == (405, "POST")


@pytest.mark.parametrize(
    "path", ["//", "//clusters//prod", "/clusters", "/clusters/a/b", "/clusters/../x", "/x", "/%2e%2e/"]
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_nothing_ever_redirects(server: Server, method: str, path: str) -> None:
    """The apiserver would follow a redirect with an empty GET and count the batch as delivered."""
    answer = server.request(method, path, b"" if method == "POST" else None)

    assert 400 <= answer.status < 500
    assert "location" not in answer.headers


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"POST http://evil.example HTTP/1.1\r\nHost: 127.0.0.1", 403),
        (b"POST http://evil.example/ HTTP/1.1\r\nHost: 127.0.0.1", 403),
        (b"GET http://evil.example HTTP/1.1\r\nHost: evil.example", 405),
        (b"POST / HTTP/1.1\r\nHost: evil.example", 403),
        (b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Ssl: off", 403),
        (b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: evil.example", 400),
        (b"POST / HTTP/1.1\r\nHost: a b/c?", 403),
        (b"POST /foo HTTP/1.1\r\nHost: 127.0.0.1\r\nSCRIPT_NAME: /foo", 404),
        (b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade", 405),
        (b"GET /robots.txt HTTP/1.1\r\nHost: 127.0.0.1", 404),
        (b"POST /favicon.ico HTTP/1.1\r\nHost: 127.0.0.1", 404),
        (b"CONNECT evil.example:80 HTTP/1.1\r\nHost: evil.example:80", 404),
        (b"OPTIONS * HTTP/1.1\r\nHost: 127.0.0.1", 404),
        (b"GET /metrics HTTP/1.1\r\nHost: evil.example", 403),
        (b"GET\r\nHost: 127.0.0.1", 400),
        (b"GET / HTTP/9.9\r\nHost: 127.0.0.1", 400),
        (b"GET / HTTP/1.1\r\nHost 127.0.0.1", 400),
        (b"GET / HTTP/1.1\r\nAuthorization\x01: Bearer secret", 400),
        (b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: smoke", 501),
        (b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: -1", 400),
        (b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nExpect: much", 417),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 9_000, 431),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 40_000, 431),
    ],
)
def test_every_answer_is_a_problem_document(server: Server, head: bytes, status: int) -> None:
    """No HTML, no redirect, no 500, also to requests that no framework or no server accepts. Each is logged."""
    before = len(server.log.read_text())

    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(head + b"\r\n\r\n")
        connection.shutdown(socket.SHUT_WR)
        answer = answered(connection)

    top, _, body = answer.partition(b"\r\n\r\n")
    log = server.log.read_text()[before:]
    assert top.startswith(b"HTTP/1.1 %d " % status), answer
    assert b"content-type: application/problem+json" in top.lower()
    assert b"location" not in top.lower()
    assert json.loads(body)["status"] == status
    assert f'"status":{status}' in log
    assert "secret" not in log + body.decode()


@pytest.mark.parametrize("host", ["127.0.0.1:8888", "localhost:8888", "localhost", None])
@pytest.mark.parametrize("script_name", ["/foo", "/", ""])
def test_this_machine_is_served_without_tokens(server: Server, host: str | None, script_name: str) -> None:
    """As kube-apiserver and curl ask, and HTTP/1.0 without a Host. SCRIPT_NAME changes nothing."""
    body = event_list()
    version = b"1.1" if host else b"1.0"
    name = b"Host: %s\r\n" % host.encode() if host else b""
    name += b"SCRIPT_NAME: %s\r\n" % script_name.encode() if script_name else b""

    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(
            b"POST /?timeout=30s HTTP/%s\r\n%sContent-Type: application/json\r\nContent-Length: %d\r\n"
            b"Connection: close\r\n\r\n%s" % (version, name, len(body), body)
        )
        answer = answered(connection)

    assert answer.startswith(b"HTTP/%s 200 " % version), answer


def test_probes_are_answered_whoever_asks(server: Server) -> None:
    """Probes and load balancers come through proxies, with any Host."""
    headers = {"Host": "audit.example.com", "X-Forwarded-For": "203.0.113.9"}

    assert [server.request("GET", path, headers=headers).status for path in ("/healthz", "/readyz")] == [200, 200]


def test_a_request_with_a_broken_body_has_one_answer(serve: START) -> None:
    """A stranger is refused before the body is read. That the body breaks off afterwards changes nothing."""
    server = serve(AUDIT_TOKENS=str(auth.new_token("prod")[1]))
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")
        connection.shutdown(socket.SHUT_WR)
        answer = answered(connection)

    assert answer.count(b"HTTP/1.1 ") == 1
    assert answer.startswith(b"HTTP/1.1 401 ")


def test_large_bodies_are_refused_by_what_they_announce(serve: START) -> None:
    """413 comes before the body is read, and names the knobs."""
    server = serve(AUDIT_MAX_BODY_BYTES="1000")

    answer = server.post(event_list(event("alice", 1, b'"%s"' % (b"x" * 2_000))))

    assert answer.status == 413
    assert "--audit-webhook-truncate-max-event-size" in answer.json()["detail"]


def test_large_bodies_are_refused_as_they_come(serve: START) -> None:
    """Without an announced length, no more than the bound and as much again is read; then the connection is closed."""
    server = serve(AUDIT_MAX_BODY_BYTES="100000")
    sent = 0
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(
            b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        try:
            for _ in range(3_000):
                connection.sendall(b"8000\r\n" + b"x" * 0x8000 + b"\r\n")
                sent += 0x8000
        except OSError:
            pass
        assert sent < 3_000 * 0x8000


@pytest.mark.parametrize(
    "rest",
    [
        b"Content-Length: 1000\r\n\r\n{",
        b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n5\r\n{",
    ],
)
def test_a_body_that_breaks_off_is_not_taken(serve: START, rest: bytes) -> None:
    """Half a body is never taken for a whole one, and is the sender's matter, not a fault in here."""
    server = serve()
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n" + rest)
        connection.shutdown(socket.SHUT_WR)
        answer = connection.makefile("rb").read()

    assert answer == b"" or answer.startswith(b"HTTP/1.1 4")
    assert "Traceback" not in server.log.read_text()
    assert not (server.folder / "var").exists()


def test_no_work_is_done_for_a_sender_that_has_left(serve: START) -> None:
    """It gave up waiting, and sends the list again."""
    server = serve()
    body = event_list(*(event("alice", number, b'"%s"' % (b"x" * 20_000)) for number in range(500)))
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        head = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        connection.sendall(head % len(body) + body)
    deadline = time.monotonic() + 20
    while '"code":' not in server.log.read_text() and time.monotonic() < deadline:
        time.sleep(0.02)

    assert '"code":"sender-left"' in server.log.read_text()
    assert not (server.folder / "var").exists()
    assert server.post(body).status == 200


def test_gzip_bombs_are_refused(serve: START) -> None:
    """A body that would grow over the bound is 413 and not kept."""
    server = serve(AUDIT_MAX_BODY_BYTES="1000000")

    answer = server.post(gzip.compress(bytes(50_000_000)), Content_Encoding="gzip")

    assert answer.status == 413
    assert not (server.folder / "var").exists()


def test_a_mistake_in_the_settings_stops_the_start(tmp_path: Path) -> None:
    """All mistakes at once, in words, without a stack trace."""
    framework = Path(sys.executable).parent / "functions-framework"
    environ = {**os.environ, "AUDIT_SINKS": "s4://x", "AUDIT_PRESET": "splunk", "AUDIT_TOKEN": "x"}

    ended = subprocess.run(
        [framework, "--source", MAIN, "--target", "ingest"], env=environ, cwd=tmp_path, capture_output=True, check=False
    )

    said = ended.stderr.decode()
    assert ended.returncode == 1
    assert all(word in said for word in ("'s4'", "'splunk'", "Did you mean AUDIT_TOKENS?"))
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("preset", "pattern", "beginning"),
    [
        ("logstash", "kube-audit-alice@example.com/audit", b'{"event":{"level":'),
        ("fluentd", "audit-team-a.2026112311.log.gz", LOG_PREFIX),
    ],
)
def test_presets_make_the_documented_files(
    serve: START, recorded: list[bytes], preset: str, pattern: str, beginning: bytes
) -> None:
    """The files of the two recipes in Kubernetes' auditing page, at their places."""
    server = serve(AUDIT_PRESET=preset)
    for body in recorded:
        server.post(body)

    path = server.folder / "var" / "log" / pattern
    lines = (gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()).splitlines()
    assert lines
    assert all(line.startswith(beginning) for line in lines)
    assert all(json.loads(line) for line in lines)


def test_two_stores_at_once(serve: START, recorded: list[bytes]) -> None:
    """Each store has every event, in its own layout, before 200."""
    server = serve(AUDIT_SINKS="file:one file:two?key=by-namespace/{namespace}&format=logstash")

    server.post(recorded[2])

    assert sum(map(len, stored(server.folder / "one").values())) == 35
    assert sum(map(len, stored(server.folder / "two").values())) == 35
    assert all(name.startswith("by-namespace/") for name in stored(server.folder / "two"))


def test_readiness_checks_the_store(serve: START) -> None:
    """A store that can't be written is 503 on /readyz, while /healthz only says that the process lives."""
    server = serve(AUDIT_SINKS="file:here/log")
    ready = server.request("GET", "/readyz").status
    (server.folder / "blocked").write_text("")
    blocked = serve(AUDIT_SINKS="file:blocked/log")

    assert ready == 200
    assert (blocked.request("GET", "/healthz").status, blocked.request("GET", "/readyz").status) == (200, 503)
    assert blocked.post(event_list(event("alice", 1))).status == 503
