"""The resources that kube-apiserver itself serves, by group, with their subresources.

The end-to-end tests compare this table with the discovery of kube-apiserver 1.37.
"""

from __future__ import annotations

from collections.abc import Mapping

_STATUS = ("status",)
_SCALE = ("scale", "status")

RESOURCES: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "": {
        "bindings": (),
        "componentstatuses": (),
        "configmaps": (),
        "endpoints": (),
        "events": (),
        "limitranges": (),
        "namespaces": ("finalize", "status"),
        "nodes": ("proxy", "status"),
        "persistentvolumeclaims": _STATUS,
        "persistentvolumes": _STATUS,
        "pods": (
            "attach",
            "binding",
            "ephemeralcontainers",
            "eviction",
            "exec",
            "log",
            "portforward",
            "proxy",
            "resize",
            "status",
        ),
        "podtemplates": (),
        "replicationcontrollers": _SCALE,
        "resourcequotas": _STATUS,
        "secrets": (),
        "serviceaccounts": ("token",),
        "services": ("proxy", "status"),
    },
    "admissionregistration.k8s.io": {
        "mutatingadmissionpolicies": (),
        "mutatingadmissionpolicybindings": (),
        "mutatingwebhookconfigurations": (),
        "validatingadmissionpolicies": _STATUS,
        "validatingadmissionpolicybindings": (),
        "validatingwebhookconfigurations": (),
    },
    "apiextensions.k8s.io": {"customresourcedefinitions": _STATUS},
    "apiregistration.k8s.io": {"apiservices": _STATUS},
    "apps": {
        "controllerrevisions": (),
        "daemonsets": _STATUS,
        "deployments": _SCALE,
        "replicasets": _SCALE,
        "statefulsets": _SCALE,
    },
    "authentication.k8s.io": {"selfsubjectreviews": (), "tokenreviews": ()},
    "authorization.k8s.io": {
        "localsubjectaccessreviews": (),
        "selfsubjectaccessreviews": (),
        "selfsubjectrulesreviews": (),
        "subjectaccessreviews": (),
    },
    "autoscaling": {"horizontalpodautoscalers": _STATUS},
    "batch": {"cronjobs": _STATUS, "jobs": _STATUS},
    "certificates.k8s.io": {
        "certificatesigningrequests": ("approval", "status"),
        "clustertrustbundles": (),
        "podcertificaterequests": _STATUS,
    },
    "coordination.k8s.io": {"leases": ()},
    "discovery.k8s.io": {"endpointslices": ()},
    "events.k8s.io": {"events": ()},
    "flowcontrol.apiserver.k8s.io": {"flowschemas": _STATUS, "prioritylevelconfigurations": _STATUS},
    "networking.k8s.io": {
        "ingressclasses": (),
        "ingresses": _STATUS,
        "ipaddresses": (),
        "networkpolicies": (),
        "servicecidrs": _STATUS,
    },
    "node.k8s.io": {"runtimeclasses": ()},
    "policy": {"poddisruptionbudgets": _STATUS},
    "rbac.authorization.k8s.io": {"clusterrolebindings": (), "clusterroles": (), "rolebindings": (), "roles": ()},
    "resource.k8s.io": {
        "deviceclasses": (),
        "devicetaintrules": _STATUS,
        "resourceclaims": _STATUS,
        "resourceclaimtemplates": (),
        "resourceslices": (),
    },
    "scheduling.k8s.io": {"priorityclasses": ()},
    "storage.k8s.io": {
        "csidrivers": (),
        "csinodes": _STATUS,
        "csistoragecapacities": (),
        "storageclasses": (),
        "volumeattachments": _STATUS,
        "volumeattributesclasses": (),
    },
    "storagemigration.k8s.io": {"storageversionmigrations": _STATUS},
}
"""Subresources by group and resource. The core group is empty."""


def groups_of(resource: str) -> list[str]:
    """Return the groups that have ``resource``, empty for one that kube-apiserver does not serve itself."""
    return [group for group, resources in RESOURCES.items() if resource in resources]
