"""The chart and the helm that ``make chart`` builds."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import yaml

from support.processes import BIN

ROOT = Path(__file__).parents[2]
CHART = ROOT / "infra" / "helm" / "auditsplit"
GOLDEN = ROOT / "infra" / "helm" / "golden"
MODES = {path.name.removesuffix(".values.yaml"): path for path in sorted(GOLDEN.glob("*.values.yaml"))}
"""The values of each golden file by its name."""


def helm(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run helm; return its exit code and what it printed."""
    return subprocess.run([BIN / "helm", *arguments], capture_output=True, text=True, check=False)


def golden(name: str) -> list[dict[str, Any]]:
    """Return the objects of a golden file."""
    return list(yaml.safe_load_all((GOLDEN / f"{name}.yaml").read_text()))


def objects(name: str, kind: str) -> list[dict[str, Any]]:
    """Return the objects of a kind in a golden file."""
    return [found for found in golden(name) if found["kind"] == kind]
