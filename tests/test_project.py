"""The project's own files: what is uploaded to a cloud, and what is locked."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from pathlib import Path

from auditsplit.policy.profiles import PROFILES

ROOT = Path(__file__).parents[1]


def pins(path: Path) -> dict[str, tuple[str, frozenset[str]]]:
    """Return the pinned versions and hashes by package."""
    text = path.read_text().replace("\\\n", " ")
    found = re.findall(r"^([a-z0-9._-]+)==(\S+)(.*)$", text, re.MULTILINE)
    return {name: (version, frozenset(re.findall(r"sha256:[0-9a-f]{64}", rest))) for name, version, rest in found}


def test_the_uploads_requirements_are_the_locks() -> None:
    """functions/requirements.txt has the lock's versions and hashes, of all that pyproject wants and no more."""
    locked, uploaded = pins(ROOT / "requirements.lock"), pins(ROOT / "functions" / "requirements.txt")

    assert uploaded
    assert {name: locked[name] for name in uploaded} == uploaded
    assert {"functions-framework", "orjson", "msgspec", "isal", "click"} <= set(uploaded)
    assert not {"pytest", "ruff", "mypy"} & set(uploaded)


POLICIES = Path("functions/auditsplit/policy/profiles")


def test_the_upload_holds_code_and_nothing_else() -> None:
    """functions/ is what a cloud gets: modules, the requirements and the audit policies, no package at its root."""
    listed = subprocess.run(["git", "ls-files", "functions"], cwd=ROOT, capture_output=True, check=True)
    tracked = [Path(line) for line in listed.stdout.decode().split()]

    assert {path for path in tracked if path.suffix != ".py"} == {
        Path("functions/requirements.txt"),
        *(POLICIES / f"{profile}.yaml" for profile in PROFILES),
    }
    assert "functions/__init__.py" not in map(str, tracked)
    assert Path("functions/main.py") in tracked


def test_the_wheel_holds_the_policies(tmp_path: Path) -> None:
    """`auditsplit policy init` finds them where the package is installed, not only in a checkout."""
    build = ["hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run([sys.executable, "-m", *build], cwd=ROOT, capture_output=True, check=True)

    [wheel] = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as packed:
        held = {Path(name).stem for name in packed.namelist() if name.startswith("auditsplit/policy/profiles/")} - {
            "__init__"
        }
    assert held == set(PROFILES)


def test_no_python_file_of_the_upload_is_broken() -> None:
    """Google's build compiles the whole tree, so one broken file anywhere fails a deployment."""
    for path in (ROOT / "functions").rglob("*.py"):
        compile(path.read_text(), path, "exec")
