"""What clients read before they ask: the group, its version and resources."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from metricsapi.objects import GROUP, RESOURCES
from metricsapi.representations import VERSION, Clause, clauses

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
_VERBS = ["get", "list"]
_VERSIONS = {"groupVersion": VERSION, "version": "v1beta1"}
_GROUP = {"name": GROUP, "versions": [_VERSIONS], "preferredVersion": _VERSIONS}

DOCUMENTS: Mapping[str, Mapping[str, Any]] = {
    "/apis": {"kind": "APIGroupList", "groups": [_GROUP]},
    f"/apis/{GROUP}": {"kind": "APIGroup", "apiVersion": "v1", **_GROUP},
    f"/apis/{VERSION}": {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": VERSION,
        "resources": [
            {
                "name": name,
                "singularName": "",
                "namespaced": resource.namespaced,
                "kind": resource.kind,
                "verbs": _VERBS,
            }
            for name, resource in RESOURCES.items()
        ],
    },
}
"""The documents by their paths."""

AGGREGATED_DOCUMENT: Mapping[str, Any] = {
    "kind": "APIGroupDiscoveryList",
    "apiVersion": "apidiscovery.k8s.io/v2",
    "metadata": {},
    "items": [
        {
            "metadata": {"name": GROUP},
            "versions": [
                {
                    "version": "v1beta1",
                    "resources": [
                        {
                            "resource": name,
                            "responseKind": {"group": "", "version": "", "kind": resource.kind},
                            "scope": "Namespaced" if resource.namespaced else "Cluster",
                            "singularResource": "",
                            "verbs": _VERBS,
                        }
                        for name, resource in RESOURCES.items()
                    ],
                    "freshness": "Current",
                }
            ],
        }
    ],
}


def wants_aggregated(accept: str) -> bool:
    """Return whether an Accept header prefers the aggregated document of ``/apis``."""
    wanted = {"g": "apidiscovery.k8s.io", "v": "v2", "as": "APIGroupDiscoveryList"}
    return next(iter(clauses(accept)), None) == Clause("application/json", wanted)
