"""The project's own files: what is uploaded to a cloud, and what is locked."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

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


def test_the_upload_holds_code_and_nothing_else() -> None:
    """functions/ is what a cloud gets: modules and the requirements, no package at its root."""
    listed = subprocess.run(["git", "ls-files", "functions"], cwd=ROOT, capture_output=True, check=True)
    tracked = [Path(line) for line in listed.stdout.decode().split()]

    assert {path.name for path in tracked if path.suffix != ".py"} == {"requirements.txt"}
    assert "functions/__init__.py" not in map(str, tracked)
    assert Path("functions/main.py") in tracked


def test_no_python_file_of_the_upload_is_broken() -> None:
    """Google's build compiles the whole tree, so one broken file anywhere fails a deployment."""
    for path in (ROOT / "functions").rglob("*.py"):
        compile(path.read_text(), path, "exec")
