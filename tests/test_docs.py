"""README.md and docs/: the generated tables are those that ``make docs`` writes, and links lead somewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def test_the_pages_are_what_make_docs_writes(tmp_path: Path) -> None:
    """Each page is compared whole. ``make docs`` mends a difference."""
    script = ROOT / "docs" / "generate.py"

    done = subprocess.run([sys.executable, script, "--into", tmp_path], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert {page: page.read_text() for page in PAGES} == {
        page: (tmp_path / page.relative_to(ROOT)).read_text() for page in PAGES
    }


def anchors(page: Path) -> set[str]:
    """Return the fragments of a page: GitHub's for headings, and those that the page sets itself."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    made = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    return made | set(re.findall(r'<a id="([\w-]+)">', text))


def links(page: Path) -> Iterator[tuple[Path, str]]:
    """Yield file and fragment of each link to a file of the project."""
    for path, fragment in re.findall(r"\]\((?!https?:)([^)#\s]*)#?([^)\s]*)\)", page.read_text()):
        yield (page.parent / path).resolve() if path else page, fragment


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_to_a_file_and_a_heading(page: Path) -> None:
    """A renamed page or heading takes its links along."""
    broken = [
        (str(target), fragment)
        for target, fragment in links(page)
        if not target.exists() or (fragment and target.suffix == ".md" and fragment not in anchors(target))
    ]

    assert broken == []
