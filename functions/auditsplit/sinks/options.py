"""A store's URL and its options, read with every mistake noted."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import unquote, urlsplit

from auditsplit.routing.template import KeyTemplate, WhichUser
from auditsplit.sinks.lines import FORMATS

_MAX_DIGITS = 18
_SHARED = {"key": "AUDIT_KEY", "format": "AUDIT_FORMAT"}


def redacted(url: str) -> str:
    """Return the URL without its options, and without what may be a password in it."""
    place = url.partition("?")[0]
    scheme, colon, rest = place.partition("://")
    return f"{scheme}{colon}...@{rest.rpartition('@')[2]}" if "@" in rest else place


def whole_number(text: str) -> int | None:
    """Return the number that the digits in ``text`` write, None where it is anything else."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS else None


class Target:
    """A store's URL: ``scheme``, ``host``, ``path``, and the options, asked for by name; ``mistakes`` collects.

    ``user`` says whose name ``{user}`` is in the store's template.
    """

    def __init__(self, url: str, defaults: Mapping[str, str], user: WhichUser) -> None:
        """Take the URL apart; ``defaults`` are options that the URL's own outdo."""
        parts = urlsplit(url)
        self.url = redacted(url)
        self.scheme, self.host, self.path = parts.scheme, parts.netloc, unquote(parts.path)
        self.mistakes: list[str] = []
        if "#" in url or "\0" in self.path:
            self.mistakes.append("a # or NUL has no place in it; write # as %23")
        pairs = [option.partition("=") for option in parts.query.split("&") if option]
        self._unasked = {unquote(name): unquote(value) for name, _, value in pairs}
        self._options, self._own = {**defaults, **self._unasked}, frozenset(self._unasked)
        self.user: WhichUser = user

    def text(self, name: str, default: str) -> str:
        """Return the option as it is."""
        self._unasked.pop(name, None)
        return self._options.get(name) or default

    def integer(self, name: str, default: int, *, least: int = 0) -> int:
        """Return the option as a whole number of ``least`` or more."""
        text = self.text(name, str(default))
        number = whole_number(text)
        if number is not None and number >= least:
            return number
        self.mistakes.append(f"{self._called(name)}: {text[:40]!r} is no whole number of {least} or more")
        return default

    def flag(self, name: str, *, default: bool) -> bool:
        """Return the option as a truth value: 1 or 0."""
        text = self.text(name, "1" if default else "0")
        if text not in ("0", "1"):
            self.mistakes.append(f"{self._called(name)}: {text!r} is neither 1 (yes) nor 0 (no)")
        return text == "1"

    def line_format(self) -> str:
        """Return the option ``format``."""
        text = self.text("format", "log")
        if text in FORMATS:
            return text
        self.mistakes.append(f"{self._called('format')}: {text!r} is none of {', '.join(FORMATS)}")
        return "log"

    def key(self, default: str) -> KeyTemplate:
        """Return the option ``key``."""
        try:
            return KeyTemplate(self.text("key", default), user=self.user)
        except ValueError as error:
            self.mistakes += [f"{self._called('key')}: {line}" for line in str(error).splitlines()]
            return KeyTemplate(default, user=self.user)

    def _called(self, name: str) -> str:
        """Return what the deployer calls the option: a setting, where the URL doesn't have it."""
        return name if name in self._own else _SHARED.get(name, f"AUDIT_FILE_{name.upper()}")

    def check(self) -> None:
        """Raise ``ValueError`` with all mistakes, a line each; options that nobody asked for are mistakes too."""
        self.mistakes += [f"{name}: the {self.scheme}: store has no such option" for name in self._unasked]
        if self.mistakes:
            raise ValueError("\n".join(self.mistakes))
