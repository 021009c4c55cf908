"""kube-apiserver's static pod: a patch for kubeadm's patches folder, or a whole manifest with the flags in it.

The format of a patch: https://kubernetes.io/docs/setup/production-environment/tools/kubeadm/control-plane-flags/.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from yaml.nodes import ScalarNode

from auditsplit.apiserver.installers.kubeadm import MOUNTED
from auditsplit.apiserver.installers.plan import Plan, dump
from auditsplit.apiserver.installers.tree import Change, Listed, Mapped, Tree
from auditsplit.apiserver.installers.volumes import Volume
from auditsplit.errors import SettingsError

NAME = "kube-apiserver"


def patch(plan: Plan) -> str:
    """Return the patch ``kube-apiserver+strategic.yaml`` for kubeadm's ``patches.directory``.

    The flags are ``args``. They follow ``command``, where kubeadm writes its own flags, so they take precedence. A
    strategic patch of ``command`` would replace all of kubeadm's flags.
    """
    mounts = plan.volumes(MOUNTED)
    container = {
        "name": NAME,
        "args": [f"--{name}={value}" for name, value in plan.flags.items()],
        "volumeMounts": [_mount(volume) for volume in mounts],
    }
    return dump(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": NAME, "namespace": "kube-system"},
            "spec": {"containers": [container], "volumes": [_volume(volume) for volume in mounts]},
        }
    )


def merge(text: str, plan: Plan) -> tuple[str, list[Change]]:
    """Return the manifest in ``text`` with the plan's flags and volumes, and what was changed in it.

    Raises:
        SettingsError: There is no Pod with a container ``kube-apiserver`` in ``text``.
    """
    tree = Tree(text)
    spec = tree.document("Pod").child("spec")
    container = next((each for each in spec.items("containers").mappings() if each.get("name") == NAME), None)
    if container is None:
        raise SettingsError(f"--merge: the Pod has no container {NAME}")
    lists = [container.items(key) for key in ("command", "args") if container.node(key) is not None]
    changes = _set_flags(lists, container, plan.flags)
    mounts, present = container.items("volumeMounts"), spec.items("volumes")
    for volume in plan.volumes(mounts.values("mountPath")):
        renamed = volume._replace(name=present.free_name(volume.name))
        mounts.append(_mount(renamed))
        present.append(_volume(renamed))
        changes.append(Change(f"volume {renamed.path}", None, "mounted"))
    return tree.text(), changes


def _set_flags(lists: list[Listed], container: Mapped, flags: Mapping[str, str]) -> list[Change]:
    """Set the flags where they are. Add the others where most flags are."""
    changes = []
    for name, value in flags.items():
        before = [found for each in lists for found in _take(each, name)]
        if before != [value]:
            changes.append(Change(name, before[-1] if before else None, value))
        target = max(lists, key=lambda each: sum(map(_is_flag, each.texts())), default=None)
        (target or container.items("args")).append(f"--{name}={value}")
        lists = lists or [container.items("args")]
    return changes


def _take(arguments: Listed, name: str) -> list[str]:
    """Remove the flag ``name`` from the arguments, as ``--name=value`` or in two arguments. Return its values."""
    kept: list[Any] = []
    taken: list[str] = []
    pending = False
    for node in arguments.node.value:
        text = str(node.value) if isinstance(node, ScalarNode) else ""
        if pending and not _is_flag(text):
            taken[-1] = text
            pending = False
            continue
        pending = text == f"--{name}"
        if pending:
            taken.append("true")
        elif text.startswith(f"--{name}="):
            taken.append(text.partition("=")[2])
        else:
            kept.append(node)
    arguments.node.value = kept
    return taken


def _is_flag(text: str) -> bool:
    return text.startswith("--")


def _mount(volume: Volume) -> dict[str, Any]:
    return {"name": volume.name, "mountPath": volume.path, "readOnly": volume.read_only}


def _volume(volume: Volume) -> dict[str, Any]:
    return {"name": volume.name, "hostPath": {"path": volume.path, "type": volume.kind}}
