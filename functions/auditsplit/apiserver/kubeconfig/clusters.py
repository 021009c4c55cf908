"""A list of clusters, an aggregated apiserver being just one more, and the kubeconfigs that it comes to."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import msgspec

from auditsplit.apiserver import rules
from auditsplit.apiserver.kubeconfig import schema
from auditsplit.apiserver.kubeconfig.entry import Entry, make
from auditsplit.apiserver.kubeconfig.schema import Kubeconfig
from auditsplit.apiserver.rules import Finding
from auditsplit.auth import TokenHash


class Planned(NamedTuple):
    """A kubeconfig that is to be at ``path``; ``before`` is the text there now, None where there is none."""

    entry: Entry
    path: Path
    document: Kubeconfig
    before: str | None
    findings: list[Finding]
    hashes: tuple[TokenHash, ...]

    @property
    def text(self) -> str:
        """What is to be in the file."""
        return schema.encode(self.document)


def read(text: str) -> list[Entry]:
    """Return the entries of a list in YAML; ``ValueError`` has every mistake on a line of its own."""
    entries = msgspec.convert(schema.parse(text), list[Entry])
    mistakes = [
        f"{entry.name or f'entry {number}'}: {mistake}"
        for number, entry in enumerate(entries, 1)
        for mistake in entry.mistakes()
    ]
    names = [entry.name for entry in entries]
    mistakes += [f"{name}: there are two of this name" for name in dict.fromkeys(names) if names.count(name) > 1]
    if "-" in {path for entry in entries for path in (entry.token_from, entry.password_from, entry.ca_data_from)}:
        mistakes.append("standard input can't be shared: name a file instead of -")
    if not entries:
        mistakes.append("the list is empty")
    if mistakes:
        raise ValueError("\n".join(mistakes))
    return entries


def plan(entries: Iterable[Entry], sources: Path, target: Path, *, rotate: bool) -> list[Planned]:
    """Return the kubeconfigs below ``target``; the tokens that were made before are kept, but to ``rotate``.

    With that, the hash of the old one is beside the new one's, so that it stays good until it is taken out. What an
    entry reads starts at ``sources``. `OSError` or ``ValueError`` where that or a kubeconfig there can't be read.
    """
    return [_plan(entry, sources, target / f"{entry.name}.yaml", rotate=rotate) for entry in entries]


def _plan(entry: Entry, sources: Path, path: Path, *, rotate: bool) -> Planned:
    before = path.read_text("utf-8") if path.exists() else None
    old = rules.read(path)[0].user.token if before and entry.makes_token else ""
    made = make(entry, sources, "" if rotate else old)
    hashes = [TokenHash.of(entry.name, old)] if old else []
    if made.hash:
        hashes.append(made.hash)
    return Planned(
        entry, path, made.document, before, rules.check(made.document, path.parent), tuple(dict.fromkeys(hashes))
    )
