"""The settings in the environment, as the commands want them: or the mistakes, and an exit with 2."""

from __future__ import annotations

import os
import sys

import click

from auditsplit.errors import SettingsError
from auditsplit.settings import Settings

MISUSE = 2
"""The exit code for a command, or a setting, that is wrong."""


def read_settings() -> Settings:
    """Return the settings; where one is wrong, say which and exit."""
    try:
        return Settings.read(os.environ)
    except SettingsError as error:
        for mistake in error.mistakes:
            click.echo(mistake, err=True)
        sys.exit(MISUSE)
