"""Read the settings from the environment. If one is wrong, report the mistakes and exit with 2."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import NoReturn

from auditsplit import bootstrap
from auditsplit.auth import TokenHash
from auditsplit.cli.support.contract import Refused
from auditsplit.errors import SettingsError
from auditsplit.ingest import Ingest
from auditsplit.settings import Settings, parse_tokens


def read_settings(environ: Mapping[str, str] = os.environ) -> Settings:
    """Return the settings in ``environ``. If any is wrong, report the mistakes and exit."""
    try:
        return Settings.read(environ)
    except SettingsError as error:
        refuse(error.mistakes)


def open_ingest(settings: Settings) -> Ingest:
    """Return the use case with its sinks. If they can't be opened, print the mistakes and exit."""
    try:
        return bootstrap.ingest(settings, os.environ)
    except SettingsError as error:
        refuse(error.mistakes)


def known_tokens() -> tuple[TokenHash, ...]:
    """Return the hashes in ``AUDIT_TOKENS``. If any is wrong, report the mistakes and exit."""
    mistakes: list[str] = []
    known = parse_tokens(os.environ.get("AUDIT_TOKENS", ""), mistakes)
    if mistakes:
        refuse(mistakes)
    return known


def tokens_setting(known: Iterable[TokenHash], fresh: Iterable[TokenHash]) -> str:
    """Return ``AUDIT_TOKENS`` with the ``known`` and the ``fresh`` hashes. Exit if two clusters share a token."""
    entries = list(dict.fromkeys([*known, *fresh]))
    hashes = [entry.sha256 for entry in entries]
    for entry in entries:
        if hashes.count(entry.sha256) > 1:
            refuse(
                [f"the token for {entry.cluster!r} is another cluster's too. Make a token of its own for each cluster"]
            )
    return f"AUDIT_TOKENS='{' '.join(map(str, entries))}'"


def refuse(mistakes: Iterable[str]) -> NoReturn:
    """Exit with `MISUSE` after printing the mistakes to standard error."""
    raise Refused(list(mistakes))
