"""The flags of kube-apiserver in a file: a command line, a manifest, or an installer's configuration."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from auditsplit.apiserver.installers import kubeadm, rancher
from auditsplit.webhook.kubeconfig import schema

_EXEC_START = re.compile(r"^\s*ExecStart\s*=\s*[-@:+!|]*((?:.*\\\n)*.*)$", re.MULTILINE)


class Mount(NamedTuple):
    """A path that kube-apiserver's pod sees, the path on the machine, and whether the pod can only read it."""

    path: str
    host: str
    read_only: bool


class Given(NamedTuple):
    """The flags of a file in their order. ``source`` says what the file is.

    ``mounts`` is None where kube-apiserver is not in a pod, so that it sees every file. ``mounts_named`` is whether the
    installer mounts the files that flags name by itself.
    """

    source: str
    flags: tuple[tuple[str, str], ...]
    mounts: tuple[Mount, ...] | None = None
    mounts_named: bool = False

    def values(self) -> dict[str, str]:
        """Return the flags by name. The last of several has effect."""
        return dict(self.flags)


def read(text: str) -> Given:
    """Return the flags in ``text``.

    Raises:
        ValueError: It is none of the formats. The message quotes no value, which may be a secret.
    """
    if "\0" in text:
        return Given("a process's command line", _arguments(text.split("\0")))
    unit = _EXEC_START.findall(text)
    if unit:
        return Given("a systemd unit", _arguments(_words(unit[-1].replace("\\\n", " "))))
    if not text.lstrip().startswith("-") and re.search(r"^[A-Za-z\"'{].*:", text, re.MULTILINE):
        return _yaml(text)
    flags = _arguments(_words("\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))))
    if not flags:
        raise ValueError(
            "no flags found. Expected kube-apiserver's flags, a static pod's manifest, kubeadm's ClusterConfiguration,"
            " a config.yaml of RKE2 or k3s, or a systemd unit"
        )
    return Given("a command line", flags)


def _yaml(text: str) -> Given:
    parts = re.split(r"^---(?:[ \t].*)?$", text, flags=re.MULTILINE)
    documents = [document for part in parts if isinstance(document := schema.parse(part), dict)]
    for document in documents:
        for applies, convert in _FORMATS:
            if applies(document):
                try:
                    return convert(document)
                except (AttributeError, KeyError, TypeError):
                    raise ValueError(
                        "the document does not have the fields of its kind. Check its indentation"
                    ) from None
    kinds = sorted({str(document.get("kind", "a document without a kind"))[:40] for document in documents})
    raise ValueError(
        f"expected a Pod, a ClusterConfiguration or kube-apiserver-arg, not {', '.join(kinds) or 'an empty document'}"
    )


def _pod(document: dict[str, Any]) -> Given:
    spec = document["spec"]
    containers = [each for each in spec["containers"] if each.get("name") == "kube-apiserver"] or spec["containers"][:1]
    hosts = {volume["name"]: (volume.get("hostPath") or {}).get("path", "") for volume in spec.get("volumes", [])}
    mounts = tuple(
        Mount(mount["mountPath"], hosts.get(mount["name"], ""), bool(mount.get("readOnly")))
        for mount in containers[0].get("volumeMounts", [])
    )
    words = [*map(str, containers[0].get("command", [])), *map(str, containers[0].get("args", []))]
    return Given("a Pod", _arguments(words), mounts)


def _cluster_configuration(document: dict[str, Any]) -> Given:
    server = document.get("apiServer", {})
    arguments = server.get("extraArgs", {})
    pairs = arguments.items() if isinstance(arguments, dict) else [(each["name"], each["value"]) for each in arguments]
    certificates = document.get("certificatesDir", kubeadm.MOUNTED[0])
    mounts = [
        *(Mount(path, path, read_only=True) for path in dict.fromkeys([*kubeadm.MOUNTED, certificates])),
        *(
            Mount(volume["mountPath"], volume["hostPath"], bool(volume.get("readOnly")))
            for volume in server.get("extraVolumes", [])
        ),
    ]
    return Given("a ClusterConfiguration", tuple((str(name), str(value)) for name, value in pairs), tuple(mounts))


def _config_map(document: dict[str, Any]) -> Given:
    return _cluster_configuration(schema.parse(document["data"]["ClusterConfiguration"]))


def _rancher(document: dict[str, Any]) -> Given:
    words = [f"--{argument}" for argument in _list(document, "kube-apiserver-arg")]
    extra = _list(document, "kube-apiserver-extra-mount")
    if not extra and not any(key.startswith("kube-apiserver-extra-mount") for key in document):
        return Given("a configuration of k3s or RKE2", _arguments(words))
    mounts = [Mount(path, path, read_only=path != rancher.MOUNTED[-1]) for path in rancher.MOUNTED]
    for mount in extra:
        host, path, *mode = mount.split(":")
        mounts.append(Mount(path, host, read_only=mode == ["ro"]))
    return Given("a configuration of RKE2", _arguments(words), tuple(mounts), mounts_named=True)


def _list(document: dict[str, Any], key: str) -> list[str]:
    given = [value for name, value in document.items() if name.rstrip("+") == key]
    return [str(each) for value in given for each in (value if isinstance(value, list) else [value])]


def _has_arguments(document: dict[str, Any]) -> bool:
    return any(str(key).rstrip("+") == "kube-apiserver-arg" for key in document)


_FORMATS: tuple[tuple[Callable[[dict[str, Any]], object], Callable[[dict[str, Any]], Given]], ...] = (
    (lambda document: document.get("kind") == "Pod", _pod),
    (lambda document: document.get("kind") == kubeadm.KIND, _cluster_configuration),
    (lambda document: document.get("kind") == "ConfigMap", _config_map),
    (_has_arguments, _rancher),
)


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text.replace("\\\n", " "))
    except ValueError as error:
        raise ValueError(f"the command line has an open quote ({error})") from None


def _arguments(words: list[str]) -> tuple[tuple[str, str], ...]:
    """Return the flags of a command line. A flag without a value is ``true``."""
    return tuple(_pairs(words))


def _pairs(words: list[str]) -> Iterator[tuple[str, str]]:
    for position, word in enumerate(words):
        if not word.startswith("-") or word.strip("-") == "":
            continue
        name, equals, value = word.lstrip("-").partition("=")
        following = words[position + 1] if position + 1 < len(words) else "-"
        yield name, value if equals else "true" if following.startswith("-") or _is_switch(name) else following


def _is_switch(name: str) -> bool:
    return name.endswith(("-enabled", "-enable", "-compress"))
