"""The table of built-in resources is kube-apiserver's own discovery."""

from __future__ import annotations

import json
from collections.abc import Callable

from support.kubernetes import Apiserver

from auditsplit.policy import builtin


def test_the_table_is_what_kube_apiserver_serves(apiserver: Callable[[], Apiserver]) -> None:
    """Every group, resource and subresource that it serves by default is in the table, and in that group."""
    server = apiserver()
    server.start(None)
    groups = json.loads(server.request("GET", "/apis").body)["groups"]
    paths = {"": ["/api/v1"]} | {
        group["name"]: [f"/apis/{version['groupVersion']}" for version in group["versions"]] for group in groups
    }

    served: dict[str, dict[str, set[str]]] = {}
    for group, versions in paths.items():
        for path in versions:
            for entry in json.loads(server.request("GET", path).body)["resources"]:
                resource, _, subresource = entry["name"].partition("/")
                names = served.setdefault(group, {}).setdefault(resource, set())
                if subresource:
                    names.add(subresource)

    assert {
        group: {resource: sorted(names) for resource, names in resources.items()} for group, resources in served.items()
    } == {
        group: {resource: sorted(names) for resource, names in resources.items()}
        for group, resources in builtin.RESOURCES.items()
    }
