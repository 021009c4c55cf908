"""The settings in the environment, as the commands want them: or the mistakes, and an exit with 2."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from typing import NoReturn

import click

from auditsplit import bootstrap
from auditsplit.auth import TokenHash
from auditsplit.errors import SettingsError
from auditsplit.ingest import Ingest
from auditsplit.settings import Settings, parse_tokens

MISUSE = 2
"""The exit code for a command, or a setting, that is wrong."""


def read_settings() -> Settings:
    """Return the settings. If any is wrong, print the mistakes and exit."""
    try:
        return Settings.read(os.environ)
    except SettingsError as error:
        refuse(error.mistakes)


def open_ingest(settings: Settings) -> Ingest:
    """Return the use case with its sinks. If they can't be opened, print the mistakes and exit."""
    try:
        return bootstrap.ingest(settings, os.environ)
    except SettingsError as error:
        refuse(error.mistakes)


def known_tokens() -> tuple[TokenHash, ...]:
    """Return the hashes that ``AUDIT_TOKENS`` has already; where one is wrong, say which and exit."""
    mistakes: list[str] = []
    known = parse_tokens(os.environ.get("AUDIT_TOKENS", ""), mistakes)
    if mistakes:
        refuse(mistakes)
    return known


def tokens_setting(known: Iterable[TokenHash], fresh: Iterable[TokenHash]) -> str:
    """Return the setting with both; a token that is for two clusters is misuse."""
    entries = list(dict.fromkeys([*known, *fresh]))
    hashes = [entry.sha256 for entry in entries]
    for entry in entries:
        if hashes.count(entry.sha256) > 1:
            refuse(
                [f"the token for {entry.cluster!r} is another cluster's too; a token is for one, so make one for each"]
            )
    return f"AUDIT_TOKENS='{' '.join(map(str, entries))}'"


def refuse(mistakes: Iterable[str]) -> NoReturn:
    """Say what is wrong, and exit with `MISUSE`."""
    for mistake in mistakes:
        click.echo(mistake, err=True)
    sys.exit(MISUSE)
