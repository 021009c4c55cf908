"""A list of clusters, and the kubeconfigs that are planned for it. An aggregated apiserver is a cluster too."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from auditsplit.apiserver.kubeconfig.entry import Entry, make
from auditsplit.auth import TokenHash
from auditsplit.webhook import rules
from auditsplit.webhook.kubeconfig import schema
from auditsplit.webhook.kubeconfig.schema import Kubeconfig
from auditsplit.webhook.rules import Finding


class Plan(NamedTuple):
    """A kubeconfig to write to ``path``.

    ``before`` is the file's text now, None if there is no file. ``hashes`` are those of the tokens that must be
    accepted.
    """

    entry: Entry
    path: Path
    document: Kubeconfig
    before: str | None
    findings: list[Finding]
    hashes: tuple[TokenHash, ...]

    @property
    def text(self) -> str:
        """The text to write."""
        return schema.encode(self.document)


def read(text: str) -> list[Entry]:
    """Return the entries of a list in YAML.

    Raises:
        ValueError: The list has mistakes. The message has each on a line of its own.
    """
    entries = msgspec.convert(schema.parse(text), list[Entry])
    if not entries:
        raise ValueError("the list is empty")
    if mistakes := list(_mistakes(entries)):
        raise ValueError("\n".join(mistakes))
    return entries


def _mistakes(entries: Sequence[Entry]) -> Iterator[str]:
    for number, entry in enumerate(entries, 1):
        for mistake in entry.mistakes():
            yield f"{entry.name or f'entry {number}'}: {mistake}"
    names = Counter(entry.name for entry in entries)
    yield from (f"{name}: two entries have this name" for name, count in names.items() if count > 1)
    if any("-" in (entry.token_from, entry.password_from, entry.ca_data_from) for entry in entries):
        yield "the entries of a list cannot share standard input. Write a file instead of -"


def plan(entries: Iterable[Entry], sources: Path, target: Path, *, rotate: bool) -> list[Plan]:
    """Return the plans for ``entries``.

    Args:
        entries: Entries without mistakes.
        sources: The folder where the relative paths of files that are read now start.
        target: The folder of the kubeconfigs. A token that was made there before is kept.
        rotate: Make new tokens instead. The old token's hash stays beside the new one's, so both are accepted.

    Raises:
        OSError: A file cannot be read.
        ValueError: A file that an entry names is empty, or a kubeconfig in ``target`` is not one.
    """
    return [_plan(entry, sources, target / f"{entry.name}.yaml", rotate=rotate) for entry in entries]


def _plan(entry: Entry, sources: Path, path: Path, *, rotate: bool) -> Plan:
    before = path.read_text("utf-8") if path.exists() else None
    old = rules.read(path)[0].user.token if before and entry.makes_token else ""
    made = make(entry, sources, "" if rotate else old)
    hashes = [TokenHash.of(entry.name, old)] if old else []
    if made.hash:
        hashes.append(made.hash)
    return Plan(
        entry, path, made.document, before, rules.check(made.document, path.parent), tuple(dict.fromkeys(hashes))
    )
