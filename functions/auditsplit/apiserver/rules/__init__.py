"""What kube-apiserver would get wrong with a kubeconfig, loudly at its start or, worse, without a word.

`RULES` is the whole of it: each row a fault, when it is there, and why it matters. Where they come from:
``tools/clientcmd/validation.go``, ``rest/config.go`` and ``transport/`` in k8s.io/client-go v0.37, and what a real
kube-apiserver v1.37 did.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from auditsplit.apiserver.kubeconfig import schema
from auditsplit.apiserver.kubeconfig.schema import Kubeconfig
from auditsplit.apiserver.rules import server, user
from auditsplit.apiserver.rules.subject import ERROR, WARNING, Finding, Rule, Subject

__all__ = ["ERROR", "RULES", "WARNING", "Finding", "check", "read"]

RULES: tuple[Rule, ...] = (*server.RULES, *user.RULES)
"""Every rule but two: ``type`` and ``unknown-field`` are found while the document is read."""


def check(document: Kubeconfig, folder: Path, mode: int = 0) -> list[Finding]:
    """Return what is wrong with the ``document``, in the table's order.

    Its relative paths start at ``folder``; ``mode`` is that of its file, 0 where it isn't one.
    """
    subject = Subject(document, folder, mode)
    return [
        Finding(rule.level, rule.name, f"{rule.reason}: {rule.about(subject)}" if rule.about else rule.reason)
        for rule in RULES
        if rule.applies(subject)
    ]


def read(path: Path) -> tuple[Kubeconfig, list[Finding]]:
    """Return the kubeconfig in the file, and what is wrong with it.

    A field of another type leaves an empty document beside the finding. `OSError` where the file can't be read,
    ``ValueError`` where it is no YAML mapping.
    """
    parsed = schema.parse(path.read_text("utf-8"))
    if not isinstance(parsed, dict | None):
        raise ValueError("this is no kubeconfig: expected a mapping with clusters, contexts, users")  # noqa: TRY004 - it is the text that is wrong
    strange = list(_strange(parsed))
    try:
        document = schema.decode(parsed or {})
    except ValueError as error:
        reason = f"{error}; kube-apiserver doesn't start (put what looks like a number into quotes)"
        return Kubeconfig(), [Finding(ERROR, "type", reason), *strange]
    return document, [*strange, *check(document, path.parent, path.stat().st_mode)]


def _strange(parsed: Any) -> Iterator[Finding]:
    for path, known in schema.unknown(parsed):
        near = difflib.get_close_matches(path.rpartition(".")[2], known, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        reason = f"{path[:80]!r} is no field of a kubeconfig, so kube-apiserver ignores it without a word{hint}"
        yield Finding(ERROR if near else WARNING, "unknown-field", reason)
