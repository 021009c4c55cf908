"""A machine that systemd boots, in runc: Debian's packages, the checkout in /src, and this host's network."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

from support.container import ROOT, STORE, mount, spec
from support.processes import kill, spawn, wait_for

_RUNC = Path("/usr/sbin/runc")
_CGROUPS = next(folder for folder in map(Path, ("/sys/fs/cgroup/unified", "/sys/fs/cgroup")) if folder.exists())
"""The second version of cgroups, also where the host uses the first."""

_CERTIFICATES = "/etc/ssl/certs"
_START = 'echo $$ > "$0/cgroup.procs" && exec "$@"'


class Machine:
    """A booted machine."""

    def __init__(self, name: str) -> None:
        """Take its name in runc."""
        self._name = name

    def run(self, script: str) -> subprocess.CompletedProcess[str]:
        """Run a script of the shell as root, in the checkout; return its exit code and what it printed."""
        command: list[str | Path] = [_RUNC, "exec", "--cwd", "/src", self._name, "/bin/sh", "-c", script]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def must(self, script: str) -> str:
        """Run a script that has to succeed; return its standard output."""
        done = self.run(script)
        assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
        return done.stdout


@contextlib.contextmanager
def booted(folder: Path) -> Iterator[Machine]:
    """Boot a machine with its files below ``folder``; end it, and nothing else, afterwards."""
    name = f"auditsplit-{uuid.uuid4().hex[:12]}"
    root, cgroup = folder / "root", _CGROUPS / name
    root.mkdir(parents=True)
    subprocess.run(["tar", "--extract", "--file", _packages(), "--directory", root], check=True)
    _configure(folder, root)
    cgroup.mkdir()
    command: list[str | Path] = ["/bin/sh", "-c", _START, cgroup, _RUNC, "run", "--bundle", folder, name]
    process = spawn(command, folder / "machine.log", {})
    machine = Machine(name)
    try:
        wait_for("boot", lambda: machine.run("systemctl is-system-running").stdout.strip() in ("running", "degraded"))
        yield machine
    finally:
        subprocess.run([_RUNC, "kill", name, "KILL"], check=False, capture_output=True)
        kill(process)
        subprocess.run([_RUNC, "delete", "--force", name], check=False, capture_output=True)
        _remove(cgroup)


def _packages() -> Path:
    """Return the archive that ``make systemd-test`` makes with that base.sh."""
    script = (ROOT / "infra" / "image" / "base.sh").read_bytes()
    return STORE / f"systemd-{hashlib.sha256(script).hexdigest()[:12]}.tar"


def _configure(folder: Path, root: Path) -> None:
    """Write runc's configuration: as root, with all capabilities, as a machine of its own but for the network."""
    document = spec(folder)
    given = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "container": "runc"}
    document["root"] = {"path": str(root), "readonly": False}
    document["process"] |= {
        "terminal": False,
        "cwd": "/",
        "args": ["/sbin/init"],
        "env": [f"{name}={value}" for name, value in given.items()],
        "capabilities": dict.fromkeys(("bounding", "effective", "permitted"), _CAPABILITIES),
        "noNewPrivileges": False,
    }
    document["mounts"] = [found for found in document["mounts"] if found["type"] != "cgroup"] + [
        mount("/sys/fs/cgroup", "cgroup2", "cgroup2", "nosuid", "noexec", "nodev"),
        mount("/run", "tmpfs", "tmpfs", "nosuid", "nodev", "mode=755"),
        mount("/tmp", "tmpfs", "tmpfs", "nosuid", "nodev", "mode=1777"),  # noqa: S108 - in the machine
        mount("/src", "bind", str(ROOT), "rbind", "ro"),
        mount(_CERTIFICATES, "bind", os.path.realpath(_CERTIFICATES), "rbind", "ro"),
        mount("/etc/resolv.conf", "bind", os.path.realpath("/etc/resolv.conf"), "bind", "ro"),
    ]
    document["linux"]["namespaces"] = [
        *(space for space in document["linux"]["namespaces"] if space["type"] not in ("network", "cgroup")),
        {"type": "cgroup"},
    ]
    document["linux"]["maskedPaths"] = []
    document["linux"]["readonlyPaths"] = ["/proc/sys", "/proc/sysrq-trigger"]
    document["linux"]["resources"] = {}
    (folder / "config.json").write_text(json.dumps(document))


_CAPABILITIES = [
    f"CAP_{name}"
    for name in (
        "AUDIT_WRITE",
        "CHOWN",
        "DAC_OVERRIDE",
        "DAC_READ_SEARCH",
        "FOWNER",
        "FSETID",
        "IPC_LOCK",
        "KILL",
        "MKNOD",
        "NET_ADMIN",
        "NET_BIND_SERVICE",
        "NET_RAW",
        "SETFCAP",
        "SETGID",
        "SETPCAP",
        "SETUID",
        "SYS_ADMIN",
        "SYS_CHROOT",
        "SYS_NICE",
        "SYS_PTRACE",
    )
]


def _remove(cgroup: Path) -> None:
    """Remove what runc left of a cgroup, in which no process is."""
    for folder in sorted([cgroup, *cgroup.rglob("*/")], reverse=True):
        with contextlib.suppress(FileNotFoundError):
            folder.rmdir()
