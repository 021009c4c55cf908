"""docs/deploy/central-receiver.md with real apiservers: through Caddy and nginx, and the rotation of a token."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from support import commands, pages, traffic
from support.eventlists import event, eventlist
from support.function import Function, by_place, held
from support.kubernetes import Apiserver
from support.pki import Pki
from support.proxies import PROXIES, Proxy

PAGE = "deploy/central-receiver.md"
CLUSTERS = ("east", "west", "north")
INSIDE = ("/metrics", "/healthz", "/readyz")
MAX_BODY = 32 * 1024 * 1024


@contextmanager
def central(folder: Path, kind: str, receiver: Function, pki: Pki) -> Iterator[Proxy]:
    """Run a proxy in front of a receiver, and make the clusters' kubeconfigs as the page says; start the receiver."""
    with PROXIES[kind](folder / kind, pki, receiver.port) as proxy:
        said = script(folder, proxy, pki, "".join(pages.blocks(PAGE, "Install", "sh")))
        receiver.start(" ".join(entries(said.stdout + said.stderr)))
        yield proxy


def script(
    folder: Path, proxy: Proxy, pki: Pki, text: str, *, expected: int = 0, **environ: str
) -> subprocess.CompletedProcess[str]:
    """Run commands of the page in ``folder``, with the proxy's address in the place of the page's."""
    (folder / "ca.crt").write_bytes(pki.ca.read_bytes())
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    command = "set -eu\n" + text.replace("https://audit.example.com", proxy.url)
    done = subprocess.run(
        ["/bin/sh", "-c", command],
        cwd=folder,
        env={**os.environ, "PATH": path, **environ},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == expected, done.stdout + done.stderr
    return done


def entries(text: str) -> list[str]:
    """Return the entries of all ``AUDIT_TOKENS`` that commands printed."""
    return [entry for line in text.splitlines() for entry in commands.tokens_in(line).split()]


def step(number: int) -> str:
    """Return the commands of a step of the rotation."""
    return pages.blocks(PAGE, "Rotate a token", "sh")[number]


def token_of(kubeconfig: Path) -> str:
    """Return the token in a kubeconfig."""
    token: str = yaml.safe_load(kubeconfig.read_text())["users"][0]["user"]["token"]
    return token


@pytest.mark.parametrize("kind", PROXIES)
def test_three_clusters_send_through_a_proxy(
    apiserver: Callable[[], Apiserver], function: Callable[..., Function], pki: Pki, tmp_path: Path, kind: str
) -> None:
    """Each with its own token, and each event is stored once at its own cluster's place."""
    receiver, servers = function(tls=False), {name: apiserver() for name in CLUSTERS}
    with central(tmp_path, kind, receiver, pki) as proxy:
        script(tmp_path, proxy, pki, "".join(pages.blocks(PAGE, "Verify", "sh")))

        def live(name: str) -> None:
            servers[name].start(tmp_path / f"{name}.yaml")
            traffic.burst(servers[name], range(20))
            servers[name].stop()

        with ThreadPoolExecutor() as threads:
            list(threads.map(live, servers))
        checked = proxy.validate()

    sent = sum((by_place(server.audit_log(), name) for name, server in servers.items()), Counter())
    assert checked.returncode == 0, checked.stderr
    assert held(receiver) == sent
    assert {place.partition("/")[0] for place, _ in sent} == set(CLUSTERS)
    assert [server.lost() for server in servers.values()] == [{}, {}, {}]
    assert receiver.troubles() == Counter()


@pytest.mark.parametrize("kind", PROXIES)
def test_a_proxy_passes_on_what_senders_need_and_nothing_else(
    function: Callable[..., Function], pki: Pki, tmp_path: Path, kind: str
) -> None:
    """The largest body, the token and the refusals. Health and metrics are not there for the outside."""
    receiver = function(tls=False)
    with central(tmp_path, kind, receiver, pki) as proxy:
        bearer = {"Authorization": f"Bearer {token_of(tmp_path / 'east.yaml')}"}
        largest = eventlist([event("alice")]).ljust(MAX_BODY)

        too_large = {**bearer, "Content-Length": str(MAX_BODY + 1)}
        small = eventlist([event("bob")])

        statuses = {
            "largest": proxy.status(pki, "POST", "/clusters/east?timeout=30s", largest, bearer),
            "too large": proxy.status(pki, "POST", "/clusters/east", small, too_large),
            "other cluster": proxy.status(pki, "POST", "/clusters/west", small, bearer),
            "root": proxy.status(pki, "POST", "/", small, bearer),
            "no token": proxy.status(pki, "POST", "/", small),
            **{path: proxy.status(pki, "GET", path, headers=bearer) for path in INSIDE},
        }

    expected = {"largest": 200, "too large": 413, "other cluster": 403, "root": 200, "no token": 401}
    assert statuses == expected | dict.fromkeys(INSIDE, 404)


@pytest.mark.parametrize("kind", PROXIES)
def test_a_proxy_makes_no_sender_local(function: Callable[..., Function], pki: Pki, tmp_path: Path, kind: str) -> None:
    """Without tokens all that comes through it is refused, although its own address is this machine's."""
    receiver = function(tls=False)
    receiver.start()
    with PROXIES[kind](tmp_path / kind, pki, receiver.port) as proxy:
        status = proxy.status(pki, "POST", "/", eventlist([event("alice")]))

    assert status == 403


def test_a_token_is_rotated_step_by_step(
    apiserver: Callable[[], Apiserver], function: Callable[..., Function], pki: Pki, tmp_path: Path
) -> None:
    """Both tokens are accepted in between, no event is lost, and the old token is refused afterwards."""
    receiver, server = function(tls=False), apiserver()
    with central(tmp_path, "caddy", receiver, pki) as proxy:
        first = receiver.tokens
        server.start(tmp_path / "east.yaml")
        traffic.burst(server, range(10))

        said = script(tmp_path, proxy, pki, step(0), AUDIT_TOKENS=first)
        both = " ".join(entries(said.stdout + said.stderr))
        receiver.stop()
        traffic.burst(server, range(30, 40))  # Caddy answers 502 meanwhile
        receiver.start(both)
        script(tmp_path, proxy, pki, step(1))
        traffic.burst(server, range(10, 20))
        server.stop()
        server.start(tmp_path / "east-new.yaml")
        (old,) = [entry for entry in first.split() if entry.startswith("east=")]
        receiver.stop()
        receiver.start(" ".join(entry for entry in both.split() if entry != old))
        refused = script(tmp_path, proxy, pki, step(2), expected=1)
        script(tmp_path, proxy, pki, "auditsplit kubeconfig check east-new.yaml --probe")
        traffic.burst(server, range(20, 30))
        server.stop()

    assert both.split()[:-1] == first.split()
    assert "401" in refused.stdout + refused.stderr
    assert held(receiver) == by_place(server.audit_log(), "east")
    assert server.lost() == {}
