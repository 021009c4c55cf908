"""One HTTPS server that is the kubelet of many nodes: each has an address of 127/8 and its own pods.

A node's summary is a recorded one, with the node's name and its pods' names. ``python benchmarks/summaries.py PORT
CERTIFICATES NODES PODS`` runs it. CERTIFICATES is a folder with a certificate and a key for each address.
"""

from __future__ import annotations

import asyncio
import copy
import json
import ssl
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

_RECORDED = Path(__file__).parents[1] / "tests" / "data" / "metricsapi" / "kubelet" / "summary-only-cpu-and-memory.json"
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"


def name(node: int) -> str:
    """Return the name of a node."""
    return f"node-{node:04}"


def address(node: int) -> str:
    """Return the address of a node."""
    return f"127.1.{node // 250}.{node % 250 + 1}"


def pod(node: int, number: int) -> tuple[str, str]:
    """Return the namespace and the name of a node's pod. A namespace has one pod of each node."""
    return f"team-{number:02}", f"app-{node // 10:03}-{node % 10}"


def app(node: int) -> str:
    """Return the value of the label ``app`` of a node's pods. Ten nodes share it, as a Deployment of ten pods."""
    return f"app-{node // 10:03}"


def _summary(recorded: dict[str, Any], template: dict[str, Any], node: int, pods: int, now: str) -> bytes:
    document = copy.deepcopy({**recorded, "pods": []})
    document["node"]["nodeName"] = name(node)
    for number in range(pods):
        namespace, pod_name = pod(node, number)
        made = copy.deepcopy(template)
        made["podRef"] = {**made["podRef"], "name": pod_name, "namespace": namespace}
        document["pods"].append(made)
    for part in [document["node"], *(one for made in document["pods"] for one in made["containers"])]:
        part["cpu"]["time"] = part["memory"]["time"] = now
    return json.dumps(document, indent=1).encode()  # the kubelet indents too


async def _serve(port: int, certificates: Path, nodes: int, pods: int) -> None:
    recorded = json.loads(_RECORDED.read_bytes())
    template = next(one for one in recorded["pods"] if one["podRef"]["name"] == "busy")
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    bodies = {address(node): _summary(recorded, template, node, pods, now) for node in range(nodes)}

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        body = bodies[writer.get_extra_info("sockname")[0]]
        try:
            while True:
                await reader.readuntil(b"\r\n\r\n")
                writer.write(_HEAD % len(body) + body)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    for host in bodies:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificates / f"{host}.crt", certificates / f"{host}.key")
        server = await asyncio.start_server(answer, host, port, ssl=context)
    sys.stdout.write(f"{max(len(body) for body in bodies.values())}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    port, nodes, pods = (int(sys.argv[one]) for one in (1, 3, 4))
    asyncio.run(_serve(port, Path(sys.argv[2]), nodes, pods))
