"""The SBOM against the image and the lock."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from support import container

from auditsplit import __version__

ROOT = Path(__file__).parents[2]


def written(path: Path) -> str:
    """Return the SBOM, written to ``path``."""
    subprocess.run([sys.executable, ROOT / "infra" / "image" / "sbom.py", "--into", path], check=True)
    return path.read_text()


def versions(sbom: str, kind: str) -> dict[str, str]:
    """Return the versions of the packages of a kind by name."""
    components: list[dict[str, Any]] = json.loads(sbom)["components"]
    return {part["name"]: part["version"] for part in components if part["purl"].startswith(f"pkg:{kind}/")}


def test_the_sbom_is_valid_cyclonedx(tmp_path: Path) -> None:
    """By the schema of version 1.6, strictly."""
    sbom = written(tmp_path / "sbom.json")

    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(sbom) is None
    assert json.loads(sbom)["metadata"]["component"]["version"] == __version__


def test_the_sbom_lists_the_locked_python_packages(tmp_path: Path) -> None:
    """All of them in that version that are for Linux, auditsplit itself, and no others, such as pip."""
    sbom = written(tmp_path / "sbom.json")
    lock = (ROOT / "infra" / "image" / "requirements.lock").read_text().replace("\\\n", " ")
    requirements = [line.partition(" --hash")[0] for line in lock.splitlines() if "==" in line.partition("#")[0]]
    locked = dict(
        line.partition(";")[0].strip().split("==")
        for line in requirements
        if "sys_platform == 'emscripten'" not in line
    )

    assert versions(sbom, "pypi") == locked | {"auditsplit": __version__}


def test_the_sbom_lists_debians_packages(tmp_path: Path) -> None:
    """As dpkg itself lists those in the image."""
    sbom = written(tmp_path / "sbom.json")
    with container.mounted() as rootfs:
        admin = f"--admindir={rootfs}/var/lib/dpkg"
        command = ["dpkg-query", admin, "--show", "--showformat=${Package} ${Version}\n"]
        listed = subprocess.run(command, capture_output=True, text=True, check=True)

    assert versions(sbom, "deb") == dict(line.split() for line in listed.stdout.splitlines())


def test_the_same_image_gives_the_same_sbom(tmp_path: Path) -> None:
    """So a difference between two documents is a difference between two images."""
    assert written(tmp_path / "first.json") == written(tmp_path / "second.json")
