"""The webhook sink beside a consumer that nobody here wrote: the stream processor Benthos.

Its HTTP input takes the bodies. Its pipeline takes the lists apart, as Logstash's recipe in Kubernetes' auditing page
does, and its file output writes a line for each event.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import yaml
from support.processes import BIN, free_port, running, wait_for
from support.recording import DATA
from support.server import Server


def configuration(port: int, out: Path) -> str:
    """Return Benthos' configuration."""
    processors = [{"mapping": "root = this.items"}, {"unarchive": {"format": "json_array"}}]
    document = {
        "http": {"enabled": False},
        "input": {"http_server": {"address": f"127.0.0.1:{port}", "path": "/audit"}},
        "pipeline": {"processors": processors, "threads": 1},
        "output": {"file": {"path": str(out), "codec": "lines"}},
    }
    return yaml.safe_dump(document)


def test_benthos_takes_what_is_forwarded(serve: Callable[..., Server], tmp_path: Path) -> None:
    """Each recorded event once, also those of a batch that is sent again."""
    port, out, file = free_port(), tmp_path / "out.jsonl", tmp_path / "benthos.yaml"
    file.write_text(configuration(port, out))
    lists = sorted(DATA.glob("eventlist-*.json"))[:8]

    def ready() -> bool:
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=2)) as connection:
            connection.request("GET", "/none")
            return connection.getresponse().status == http.HTTPStatus.NOT_FOUND

    with running([BIN / "benthos", "run", file], tmp_path / "benthos.log", ready):
        server = serve(AUDIT_SINKS=f"webhook+http://127.0.0.1:{port}/audit file:var/log", AUDIT_DROP="none")
        answers = [server.post(path.read_bytes()) for path in [*lists, lists[0]]]
        sent = [item for path in lists for item in json.loads(path.read_bytes())["items"]]
        wait_for("all events are written", lambda: out.exists() and out.read_bytes().count(b"\n") >= len(sent))

    assert [answer.status for answer in answers] == [200] * len(answers)
    assert answers[-1].json()["alreadyStored"]
    got = [json.loads(line) for line in out.read_text().splitlines()]
    assert got == sent
