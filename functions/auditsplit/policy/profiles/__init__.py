"""Audit policies to start with: the files beside this one, for ``--audit-policy-file``.

Each is ``audit.k8s.io/v1`` and records secrets and tokens at Metadata only, which the tests ask of kube-apiserver's own
policy evaluator.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources

PROFILES: Mapping[str, str] = {
    "recommended": "all users, no secrets, bodies where rights or what runs is changed",
    "minimal": "every request without bodies, from Kubernetes' auditing page",
    "example": "the example of Kubernetes' auditing page",
    "gce": "the reference profile of clusters on Google's Compute Engine",
}
"""The profiles, each with what it is."""


def profile(name: str) -> str:
    """Return the policy of one of `PROFILES`, as commented YAML."""
    return resources.files(__name__).joinpath(f"{name}.yaml").read_text()
