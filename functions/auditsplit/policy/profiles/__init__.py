"""Audit policies to start with, for ``--audit-policy-file``: the YAML files beside this module.

Each is an ``audit.k8s.io/v1`` Policy and records secrets and tokens at Metadata only. The end-to-end tests check that
with kube-apiserver's own policy evaluator.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources

PROFILES: Mapping[str, str] = {
    "recommended": "all users, no secrets, bodies of changes to rights, workloads",
    "minimal": "every request without its body, from Kubernetes' auditing page",
    "example": "the example of Kubernetes' auditing page",
    "gce": "the reference profile of clusters on Google's Compute Engine",
}
"""A description of each profile, by name."""


def profile(name: str) -> str:
    """Return the policy of a profile in `PROFILES`, as YAML with comments."""
    return resources.files(__name__).joinpath(f"{name}.yaml").read_text()
