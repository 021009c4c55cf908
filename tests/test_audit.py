"""The audit of the dependencies: it fails on what is known, and never passes off a gap as a clean result."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

_SPEC = importlib.util.spec_from_file_location("audit", Path(__file__).parents[1] / ".ci" / "audit.py")
assert _SPEC
assert _SPEC.loader
audit: Any = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(audit)

CLEAN = {"name": "idna", "version": "3.13", "vulns": []}
HIT = {
    "name": "jinja2",
    "version": "3.1.2",
    "vulns": [{"id": "GHSA-h5c8", "aliases": ["CVE-2024-22195"], "fix_versions": ["3.1.3"], "description": "…"}],
}
GAP = {"name": "six", "skip_reason": "Dependency not found on PyPI and could not be audited: six (1.17.0)"}


def run(monkeypatch: pytest.MonkeyPatch, *dependencies: dict[str, Any]) -> int:
    """Run it on what a registry would say of the lock."""
    found = audit.read(json.dumps({"dependencies": dependencies, "fixes": []}))
    monkeypatch.setattr(audit, "audit", lambda _: found)
    code: int = audit.main()
    return code


def test_a_vulnerability_fails(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """It is named with the version that mends it."""
    assert run(monkeypatch, CLEAN, HIT, GAP) == 1

    said = capsys.readouterr()
    assert said.out == "jinja2 3.1.2: GHSA-h5c8, CVE-2024-22195; fixed in 3.1.3\n"
    assert "2 packages asked about, 1 vulnerabilities known; NOT AUDITED: Dependency not found" in said.err


def test_no_vulnerability_passes(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The number of packages that were asked about says what that is worth."""
    assert run(monkeypatch, CLEAN) == 0

    assert capsys.readouterr().err == "audit: 1 packages asked about, 0 vulnerabilities known\n"


def test_a_registry_that_tells_nothing_is_no_clean_result(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where nobody could be asked, that is what it says; it is not the change's fault, so it doesn't fail."""
    assert run(monkeypatch, GAP) == 0

    assert "NOT DONE" in capsys.readouterr().err


def test_an_empty_report_is_one_of_nothing() -> None:
    """pip-audit writes none if it has no connection."""
    assert audit.read("") == (0, [], [])
