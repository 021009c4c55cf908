"""The image that ``make image`` builds, and containers of it in runc: with the image's own user and command."""

from __future__ import annotations

import contextlib
import http.client
import json
import signal
import subprocess
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from auditsplit import __version__
from support.processes import free_port, kill, spawn, wait_until_ready

ROOT = Path(__file__).parents[2]
STORE = (ROOT / ".cache" / "image").resolve()
_RUNC = Path("/usr/sbin/runc")
_DRAIN_S = 40

IMAGE = f"localhost/auditsplit:{__version__}"


def buildah(*arguments: str) -> str:
    """Return what buildah prints about the images of ``make image``."""
    done = subprocess.run(
        ["buildah", "--root", STORE / "storage", "--runroot", STORE / "run", *arguments],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def image_config() -> dict[str, Any]:
    """Return what the image says of its user, command, environment and labels."""
    found: dict[str, Any] = json.loads(buildah("inspect", "--type", "image", IMAGE))["Docker"]["config"]
    return found


@contextlib.contextmanager
def mounted() -> Iterator[Path]:
    """Mount the image's files; yield the folder."""
    name = buildah("from", "--pull-never", IMAGE)
    try:
        yield Path(buildah("mount", name)).resolve()
    finally:
        buildah("umount", name)
        buildah("rm", name)


class Answer(NamedTuple):
    """What the function answered."""

    status: int
    body: bytes


class Container:
    """A container in runc, on this machine's network; ``folder`` has its bundle and its log."""

    def __init__(self, rootfs: Path, folder: Path) -> None:
        """Name its files; nothing runs yet."""
        self.name, self.port = f"auditsplit-{uuid.uuid4().hex[:12]}", free_port()
        self.folder, self.log = folder, folder / "container.log"
        self._rootfs = rootfs
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, environ: Mapping[str, str], mounts: Mapping[str, Path] | None = None) -> None:
        """Run the image's command with a read-only root, no capability and /tmp in memory, until it answers."""
        self.process = self._spawn(environ, mounts or {})
        wait_until_ready(self.process, self.log, lambda: self.request("GET", "/healthz").status == 200)

    def run(self, environ: Mapping[str, str], command: list[str] | None = None) -> int:
        """Run a command, else the image's, to its end; return the exit code."""
        self.process = self._spawn(environ, {}, command)
        return self.process.wait(60)

    def request(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Answer:
        """Return the answer to a request from this machine."""
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)) as connection:
            connection.request(method, path, body, {"Content-Type": "application/json", **headers})
            response = connection.getresponse()
            return Answer(response.status, response.read())

    def terminate(self) -> None:
        """Send SIGTERM to the container's first process, as a kubelet does."""
        subprocess.run([_RUNC, "kill", self.name, "TERM"], check=True)

    def wait(self) -> int:
        """Return the exit code once the container has ended."""
        assert self.process
        return self.process.wait(_DRAIN_S)

    def kill(self) -> None:
        """End what still runs of it."""
        if self.process and self.process.poll() is None:
            subprocess.run([_RUNC, "kill", self.name, signal.SIGKILL.name], check=False, capture_output=True)
            kill(self.process)
        subprocess.run([_RUNC, "delete", "--force", self.name], check=False, capture_output=True)

    def _spawn(
        self, environ: Mapping[str, str], mounts: Mapping[str, Path], command: list[str] | None = None
    ) -> subprocess.Popen[bytes]:
        self.folder.mkdir(exist_ok=True)
        config = image_config()
        user, group = (int(number) for number in config["User"].split(":"))
        given = [f"{name}={value}" for name, value in {"HOST": "127.0.0.1", "PORT": str(self.port), **environ}.items()]
        document = spec(self.folder)
        document["root"] = {"path": str(self._rootfs), "readonly": True}
        document["process"] |= {
            "terminal": False,
            "user": {"uid": user, "gid": group},
            "cwd": config["WorkingDir"],
            "args": command or [*config["Entrypoint"], *config["Cmd"]],
            "env": [*config["Env"], *given],
            "capabilities": {kind: [] for kind in ("bounding", "effective", "permitted")},
        }
        document["mounts"] = [mount for mount in document["mounts"] if mount["type"] != "cgroup"] + [
            mount("/tmp", "tmpfs", "tmpfs", "nosuid", "nodev", "mode=1777", "size=64m"),  # noqa: S108 - in the container
            *(mount(place, "bind", str(source), "rbind", "rw") for place, source in mounts.items()),
        ]
        document["linux"]["namespaces"] = [
            space for space in document["linux"]["namespaces"] if space["type"] != "network"
        ]
        (self.folder / "config.json").write_text(json.dumps(document))
        return spawn([_RUNC, "run", "--bundle", self.folder, self.name], self.log, {})


@contextlib.contextmanager
def contained(folder: Path) -> Iterator[Container]:
    """Yield a container of the image that isn't started yet, with its files below ``folder``; end it afterwards."""
    with mounted() as rootfs:
        made = Container(rootfs, folder / "container")
        try:
            yield made
        finally:
            made.kill()


def spec(folder: Path) -> dict[str, Any]:
    """Return runc's own example of a configuration."""
    path = folder / "config.json"
    path.unlink(missing_ok=True)
    subprocess.run([_RUNC, "spec", "--bundle", folder], check=True)
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def mount(place: str, kind: str, source: str, *options: str) -> dict[str, Any]:
    """Return an entry of the configuration's mounts."""
    return {"destination": place, "type": kind, "source": source, "options": list(options)}
