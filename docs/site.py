"""Build the site of all pages into ``dist/site/``: ``make site``.

The pages link to each other and to files of the project, relative to where they lie. So the site has the same folders:
every page in Markdown, and every file that one of them links to. The navigation is the table of ``docs/index.md``, so
a page that is not in it ends the build.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
DIST = ROOT / "dist"
STAGE = DIST / "pages"
INDEX = ROOT / "docs" / "index.md"
PAGES = ("*.md", "benchmarks/*.md", "docs/**/*.md", "infra/**/*.md", "kubeconfigs/*.md")
_ROW = re.compile(r"^\| (?!to \||---)([^|]+) \| ([^|]+) \|$", re.MULTILINE)
_LINK = re.compile(r"\[([^]]+)\]\((?!https?:|#)([^)\s#]+)[^)]*\)")


def pages() -> list[Path]:
    """Return all pages in Markdown."""
    return sorted({page for pattern in PAGES for page in ROOT.glob(pattern)})


def linked(page: Path) -> Iterator[Path]:
    """Yield the files that ``page`` links to.

    Raises:
        SystemExit: a link leads to no file. A web server has no answer to a folder.
    """
    for _, target in _LINK.findall(page.read_text()):
        path = (page.parent / target).resolve()
        if not path.is_file():
            sys.exit(f"error: {page.relative_to(ROOT)} links to {target}, which is not a file. Link to a file")
        yield path


def stage() -> None:
    """Copy the pages and what they link to into a folder that has nothing else."""
    shutil.rmtree(STAGE, ignore_errors=True)
    for file in {*pages(), *(file for page in pages() for file in linked(page))}:
        copy = STAGE / file.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, copy)


def navigation() -> list[dict[str, Any]]:
    """Return the navigation: the README, then a section for each row of the index.

    Raises:
        SystemExit: a page of ``docs/`` is not in the index.
    """
    found: list[dict[str, Any]] = [{"auditsplit": "README.md"}, {"All pages": "docs/index.md"}]
    for heading, links in _ROW.findall(INDEX.read_text()):
        section = []
        for title, target in _LINK.findall(links):
            path = (INDEX.parent / target).resolve().relative_to(ROOT).as_posix()
            section.append({title[0].upper() + title[1:]: path})
        found.append({heading[0].upper() + heading[1:]: section})
    there = {page for entry in found[2:] for section in entry.values() for link in section for page in link.values()}
    missing = {page.relative_to(ROOT).as_posix() for page in (ROOT / "docs").rglob("*.md") if page != INDEX} - there
    if missing:
        sys.exit(f"error: docs/index.md has no link to {', '.join(sorted(missing))}. Add it to a row of the table")
    return found


def main() -> int:
    """Write the site, and return the builder's exit code. It is not 0 if a link leads nowhere."""
    stage()
    config = yaml.safe_load((ROOT / "mkdocs.yml").read_text())
    (DIST / "mkdocs.yml").write_text(yaml.safe_dump(config | {"nav": navigation()}, sort_keys=False))
    command: list[str | Path] = [
        Path(sys.executable).with_name("zensical"),
        "build",
        "--strict",
        "--clean",
        "--config-file",
    ]
    return subprocess.call([*command, DIST / "mkdocs.yml"])  # noqa: S603 - the project's own program


if __name__ == "__main__":
    sys.exit(main())
