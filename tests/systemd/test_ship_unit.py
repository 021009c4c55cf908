"""The shipper's unit and the commands of docs/ship.md, on a machine that systemd booted."""

from __future__ import annotations

import re
from pathlib import Path

from support.machine import booted
from support.pages import commands, section
from support.processes import free_port, wait_for

PAGE = "ship.md"
PART = "As a systemd service"
LOG = "/var/log/kubernetes/audit/audit.log"
PORT = "9419"


def test_the_unit_ships_the_log_over_a_rotation_and_a_kill(tmp_path: Path) -> None:
    """As the page says, word for word. Only the port is another, because the machine has this host's network."""
    port = str(free_port())
    install, _, verify = commands(PAGE, PART).partition("systemctl is-active")
    lines = (Path(__file__).parents[1] / "data" / "audit.log").read_bytes().count(b"\n")
    with booted(tmp_path / "machine") as machine:
        stored = "cat /srv/audit/kube-audit-*/audit | wc -l"
        machine.must(f"mkdir -p -m 700 $(dirname {LOG}) && install -m 600 tests/data/audit.log {LOG}")
        unit = "/etc/systemd/system/auditsplit-ship.service"
        install = install.replace(
            "systemctl daemon-reload", f"sed -i s/:{PORT}/:{port}/ {unit}\nsystemctl daemon-reload"
        )
        machine.must(install)
        wait_for("the log is shipped", lambda: machine.run(stored).stdout.strip() == str(lines))
        verified = machine.must(f"systemctl is-active{verify}".replace(PORT, port))

        machine.must("systemctl kill --signal=KILL auditsplit-ship")
        line = '{"kind":"Event","apiVersion":"audit.k8s.io/v1","auditID":"new","user":{"username":"u"}}'
        machine.must(f"mv {LOG} $(dirname {LOG})/audit-2026-11-26T10-00-00.000.log && echo '{line}' > {LOG}")
        wait_for("what came later is shipped", lambda: machine.run(stored).stdout.strip() == str(lines + 1))
        machine.must("systemctl stop auditsplit-ship")

        assert verified.startswith("active\n")
        assert "no file" not in verified
        assert re.search(r"level for auditsplit-ship.service: ([0-9.]+)", verified)[1] in section(PAGE, PART)  # type: ignore[index]
        assert machine.must(stored).strip() == str(lines + 1)
