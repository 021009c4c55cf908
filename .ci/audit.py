"""Ask PyPI for known vulnerabilities of every locked package; exit with 1 if there are any.

pip-audit says "No known vulnerabilities found" of packages that nobody could tell it about, too: a mirror of the
registry often has no advisories. So its report is read here, and what was not audited is said to be not audited.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

LOCK = Path(__file__).parents[1] / "requirements.lock"
_PIP_AUDIT = (
    *(sys.executable, "-m", "pip_audit", "--disable-pip", "--require-hashes", "--vulnerability-service", "pypi"),
    *("--timeout", "15", "--progress-spinner", "off", "--format", "json", "--requirement"),
)


class Verdict(NamedTuple):
    """What a report says: how many packages it tells of, and the vulnerabilities and gaps in words."""

    audited: int
    found: list[str]
    skipped: list[str]


def read(report: str) -> Verdict:
    """Return what pip-audit's JSON report says; one that is empty, since it could ask nobody, tells of nothing."""
    dependencies = json.loads(report)["dependencies"] if report.strip() else []
    audited = [entry for entry in dependencies if "skip_reason" not in entry]
    found = [
        f"{entry['name']} {entry['version']}: {', '.join([one['id'], *one['aliases']])}; "
        f"fixed in {', '.join(one['fix_versions']) or 'no version yet'}"
        for entry in audited
        for one in entry["vulns"]
    ]
    return Verdict(len(audited), found, [entry["skip_reason"] for entry in dependencies if "skip_reason" in entry])


def audit(requirements: Path) -> Verdict:
    """Return what PyPI says of the packages pinned in ``requirements``."""
    done = subprocess.run([*_PIP_AUDIT, str(requirements)], capture_output=True, text=True, check=False)
    verdict = read(done.stdout)
    if not verdict.audited and not verdict.skipped:
        last = done.stderr.strip().splitlines()[-1:] or [f"pip-audit ended with {done.returncode}"]
        verdict.skipped.append(last[0][:300])
    return verdict


def main() -> int:
    """Audit the lock; ask for one package first, so that a registry without advisories is asked no more."""
    first = re.split(r"\n(?=\S)", LOCK.read_text(), maxsplit=1)[0]
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as one:
        one.write(first + "\n")
        one.flush()
        probe = audit(Path(one.name))
    verdict = audit(LOCK) if probe.audited else probe
    if not verdict.audited:
        print(f"audit: NOT DONE, the registry here tells of no vulnerabilities ({verdict.skipped[0]})", file=sys.stderr)
        return 0
    for line in verdict.found:
        print(line)
    told = f"audit: {verdict.audited} packages asked about, {len(verdict.found)} vulnerabilities known"
    print(told + (f"; NOT AUDITED: {'; '.join(verdict.skipped)}" if verdict.skipped else ""), file=sys.stderr)
    if verdict.found:
        print("take the fixed versions with: make lock UPGRADE=--upgrade", file=sys.stderr)
    return 1 if verdict.found else 0


if __name__ == "__main__":
    sys.exit(main())
