"""A real Prometheus, with the project's own configuration, that asks often; and an apiserver's metrics for it."""

from __future__ import annotations

import contextlib
import json
import shutil
import threading
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml

from support import servers

ROOT = Path(__file__).parents[2]
INFRA = ROOT / "infra" / "prometheus"
PROMETHEUS = ROOT / ".cache" / "bin" / "prometheus"
PROMTOOL = ROOT / ".cache" / "bin" / "promtool"


class Prometheus:
    """A running Prometheus."""

    def __init__(self, url: str) -> None:
        """Take its URL."""
        self._url = url

    def ask(self, path: str, **parameters: str) -> Any:
        """Return the data that its API answers; raises where it refuses the question."""
        query = urllib.parse.urlencode(parameters)
        with urllib.request.urlopen(f"{self._url}/api/v1/{path}?{query}", timeout=30) as answer:
            return json.load(answer)["data"]

    def samples(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """Return labels and value of each sample that ``expression`` has now."""
        found = self.ask("query", query=expression)["result"]
        return [(sample["metric"], float(sample["value"][1])) for sample in found]


@contextlib.contextmanager
def prometheus(folder: Path, *jobs: Mapping[str, Any]) -> Iterator[Prometheus]:
    """Run Prometheus by infra/prometheus/prometheus.yaml, but more often, and with what ``jobs`` say of its two jobs.

    ``target`` is host:port; the rest stands in the job's place of that name, and None is nothing.
    """
    settings = yaml.safe_load((INFRA / "prometheus.yaml").read_text())
    settings["global"] = {"scrape_interval": "200ms", "evaluation_interval": "200ms"}
    for job, change in zip(settings["scrape_configs"], jobs, strict=True):
        job["static_configs"][0]["targets"] = [change["target"]]
        job.update({name: value for name, value in change.items() if name != "target"})
        for name in [name for name, value in job.items() if value is None]:
            del job[name]
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(settings))
    shutil.copy(INFRA / "auditsplit.rules.yaml", folder)
    address = f"127.0.0.1:{servers.free_port()}"
    options = ["--config.file=prometheus.yaml", "--storage.tsdb.path=data", f"--web.listen-address={address}"]
    with servers.running(PROMETHEUS, options, f"http://{address}/-/ready", folder):
        yield Prometheus(f"http://{address}")


@contextlib.contextmanager
def telling(metrics: Mapping[str, float]) -> Iterator[str]:
    """Serve ``metrics``, by name with labels, as a kube-apiserver does, also what changes in them; yield host:port."""

    class _Metrics(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = "".join(f"{name} {value}\n" for name, value in dict(metrics).items()).encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), _Metrics) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()
