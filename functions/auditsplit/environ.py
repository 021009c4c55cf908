"""Read settings from the environment, and collect every mistake in them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping

from auditsplit.errors import SettingsError

_MAX_DIGITS = 18


class Reader:
    """Reads the settings of one function, ``AUDIT_…`` by default, and collects the mistakes in them."""

    def __init__(self, environ: Mapping[str, str], names: Iterable[str], prefix: str = "AUDIT_") -> None:
        """Note the settings with the ``prefix`` that are not among ``names``."""
        self.environ = environ
        self.given = {
            name: value.strip() for name, value in environ.items() if name.startswith(prefix) and value.strip()
        }
        self.mistakes = list(_unknown(self.given, frozenset(names)))

    def text(self, name: str, default: str = "") -> str:
        """Return the setting, or ``default`` where it is not set."""
        return self.given.get(name, default)

    def choice(self, name: str, choices: Iterable[str], default: str = "") -> str:
        """Return the setting if it is one of ``choices``, else note the mistake and return ``default``."""
        text = self.text(name, default)
        choices = list(choices)
        if text in (default, *choices):
            return text
        self.mistake(name, f"must be {' or '.join(choices)}, not {text[:40]!r}")
        return default

    def mistake(self, name: str, *lines: str) -> None:
        """Note mistakes in the setting ``name``, each once."""
        for line in lines:
            text = f"{name}: {line}"
            if text not in self.mistakes:
                self.mistakes.append(text)

    def finish(self) -> None:
        """Raise `SettingsError` if there are mistakes."""
        if self.mistakes:
            raise SettingsError(*self.mistakes)


def whole_number(text: str) -> int | None:
    """Return the number that the digits in ``text`` write, None where it is anything else."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS else None


def _unknown(given: Mapping[str, str], names: frozenset[str]) -> Iterator[str]:
    for name in sorted(given.keys() - names):
        near = difflib.get_close_matches(name, names, n=1)
        yield f"{name}: there is no such setting" + (f". Did you mean {near[0]}?" if near else "")
