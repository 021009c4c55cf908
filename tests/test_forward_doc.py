"""docs/forward.md: the URLs on the page are valid."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from auditsplit.settings import Settings
from auditsplit.webhook.kubeconfig import schema
from auditsplit.webhook.kubeconfig.schema import Cluster

PAGE = (Path(__file__).parents[1] / "docs" / "forward.md").read_text()
FOLDER = "/etc/auditsplit"


@pytest.mark.parametrize("url", re.findall(r"^AUDIT_SINKS='(.*)'$", PAGE, re.MULTILINE))
def test_the_urls_are_valid(url: str, tmp_path: Path) -> None:
    """With the files that they name."""
    (tmp_path / "siem.token").write_text("word")
    (tmp_path / "siem.yaml").write_text(schema.encode(schema.build(Cluster(server="https://siem.example.com"), None)))

    settings = Settings.read({"AUDIT_SINKS": url.replace(FOLDER, str(tmp_path))})

    first, second = (target.scheme for target in settings.sinks)
    assert (first, second.partition("+")[0]) == ("file", "webhook")
