"""Faults of a kubeconfig that kube-apiserver reports at its start or, worse, not at all.

`RULES` is the table: each row names a fault, when a kubeconfig has it, and what happens then. Sources:
``tools/clientcmd/validation.go``, ``rest/config.go`` and ``transport/`` in k8s.io/client-go v0.37, and what a real
kube-apiserver v1.37 did.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from auditsplit.errors import in_words
from auditsplit.webhook.kubeconfig import schema
from auditsplit.webhook.kubeconfig.schema import Kubeconfig
from auditsplit.webhook.rules import fields, server, user
from auditsplit.webhook.rules.subject import ERROR, WARNING, Finding, Rule, Subject

__all__ = ["ERROR", "RULES", "WARNING", "Finding", "check", "read"]

RULES: tuple[Rule, ...] = (*server.RULES, *user.RULES)
"""Every rule except ``type`` and ``unknown-field``, which `read` finds."""


def check(document: Kubeconfig, folder: Path, mode: int = 0) -> list[Finding]:
    """Return the faults of ``document``, in the table's order.

    Args:
        document: The kubeconfig.
        folder: Where its relative paths start.
        mode: The permissions of its file. 0 if there is no file.
    """
    subject = Subject(document, folder, mode)
    return [
        Finding(rule.level, rule.name, rule.reason.format(rule.about(subject)) if rule.about else rule.reason)
        for rule in RULES
        if rule.applies(subject)
    ]


def read(path: Path) -> tuple[Kubeconfig, list[Finding]]:
    """Return the kubeconfig in the file at ``path``, and its faults.

    If a field has the wrong type, the kubeconfig is empty and a finding names the field.

    Raises:
        OSError: The file cannot be read.
        ValueError: The file is not a mapping in YAML.
    """
    parsed = schema.parse(path.read_text("utf-8"))
    if not isinstance(parsed, dict | None):
        raise ValueError("this file is not a kubeconfig: expected a mapping with clusters, contexts, users")  # noqa: TRY004 - the text is wrong, not an argument
    unknown = list(_unknown(parsed))
    try:
        document = schema.decode(parsed or {})
    except ValueError as error:
        reason = f"{in_words(str(error))}. kube-apiserver does not start. Quote a value that looks like a number"
        return Kubeconfig(), [Finding(ERROR, "type", reason), *unknown]
    return document, [*unknown, *check(document, path.parent, path.stat().st_mode)]


def _unknown(parsed: Any) -> Iterator[Finding]:
    for path, known in fields.unknown(parsed):
        near = difflib.get_close_matches(path.rpartition(".")[2], known, n=1)
        hint = f". Did you mean {near[0]}?" if near else ""
        reason = f"{path[:80]!r} is not a field of a kubeconfig, so kube-apiserver ignores it silently{hint}"
        yield Finding(ERROR if near else WARNING, "unknown-field", reason)
