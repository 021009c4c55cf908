"""The unit and the commands of docs/deploy/systemd.md, on a machine that systemd booted."""

from __future__ import annotations

import re
from pathlib import Path

from support.machine import Machine, booted
from support.pages import commands, section
from support.processes import free_port, wait_for

PAGE = "deploy/systemd.md"
DROP_IN = "/run/systemd/system/auditsplit.service.d"
EVENTS = 35
"""In the list that the page posts."""


def ready(machine: Machine, port: int) -> None:
    """Return once the service is ready."""
    url = f"http://127.0.0.1:{port}/readyz"
    wait_for("readiness", lambda: machine.run(f"curl --fail --silent {url}").returncode == 0)


def test_the_service_is_installed_verified_upgraded_and_removed(tmp_path: Path) -> None:
    """As the page says, word for word. Only the port is another, because the machine has this host's network."""
    port = free_port()
    with booted(tmp_path / "machine") as machine:
        machine.must(f"mkdir -p {DROP_IN} && printf '[Service]\nEnvironment=PORT={port}\n' > {DROP_IN}/port.conf")
        machine.must(commands(PAGE, "Install"))
        ready(machine, port)

        verified = machine.must(commands(PAGE, "Verify").replace(":8888", f":{port}"))
        exposure = machine.must(commands(PAGE, "What it may do"))
        machine.must(commands(PAGE, "Upgrade"))
        ready(machine, port)
        again = machine.must(commands(PAGE, "Verify").replace(":8888", f":{port}"))
        machine.must(commands(PAGE, "Remove"))

        assert verified.startswith("active\n")
        assert f'"events":{EVENTS}' in verified
        assert f"{EVENTS} total" in verified
        assert '"alreadyStored":true' in again, "the journal outlives a restart"
        assert figure(exposure) == figure(section(PAGE, "What it may do"))
        assert machine.run("systemctl is-active auditsplit").stdout == "inactive\n"
        assert machine.must("cat /var/log/private/auditsplit/kube-audit-*/audit").count("\n") == EVENTS


def figure(text: str) -> str:
    """Return the exposure that ``systemd-analyze security`` found."""
    (found,) = re.findall(r"Overall exposure level for auditsplit.service: ([0-9.]+)", text)
    return str(found)
