"""What an installer is asked to set up: the flags, the files, and the audit log."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import yaml

from auditsplit.apiserver.installers.volumes import Volume, volumes


class Plan(NamedTuple):
    """The flags by name, the paths that they and the kubeconfig name, and the content of those that are known."""

    flags: Mapping[str, str]
    paths: tuple[str, ...]
    log_path: str | None = None
    contents: Mapping[str, str] = {}
    """The text of files by their path on the apiserver's machine."""

    def volumes(self, mounted: Collection[str]) -> list[Volume]:
        """Return the volumes that the pod needs beside the ``mounted`` paths."""
        return volumes(self.paths, mounted, None if self.log_path == "-" else self.log_path)


def dump(document: Any) -> str:
    """Return the document in YAML, with its keys in their order and texts of several lines as blocks."""
    return yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


class Octal(int):
    """A number that `dump` writes in octal, as ``0444``."""


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as blocks, so that a person can read a file in a file."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)
_Dumper.add_representer(Octal, lambda dumper, number: dumper.represent_scalar("tag:yaml.org,2002:int", f"0{number:o}"))
