"""Kubeconfigs by hand, also those that nobody should write."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def write(path: Path, server: str, ca: Path | None, /, cluster: dict[str, Any] | None = None, **user: Any) -> Path:
    """Write a webhook's kubeconfig; ``user`` and ``cluster`` are put in as they stand."""
    authority = {"certificate-authority": str(ca)} if ca else {}
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "audit", "cluster": {"server": server, **authority, **(cluster or {})}}],
        "users": [{"name": "audit", "user": user}],
        "contexts": [{"name": "audit", "context": {"cluster": "audit", "user": "audit"}}],
        "current-context": "audit",
    }
    path.write_text(json.dumps(document))
    return path
