"""What is wrong with an audit policy."""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

Severity: TypeAlias = Literal["refused", "warned", "suspect"]


class Problem(NamedTuple):
    """Something that kube-apiserver refuses, or only warns about in its log, or that is probably a mistake."""

    severity: Severity
    path: str
    """The field's path as kube-apiserver prints it, such as ``rules[0].nonResourceURLs[1]``. Empty for the file."""
    line: int
    """The line in the file, from 1. 0 if no place is known."""
    column: int
    """The column, from 1. 0 if no place is known."""
    message: str

    @classmethod
    def at(cls, position: tuple[int, int], path: str, message: str, severity: Severity = "refused") -> Problem:
        """Return the problem with the line and the column of a ``position``."""
        return cls(severity, path, *position, message)

    def text(self, source: str) -> str:
        """Return the problem on one line, after the name of its ``source``."""
        place = f"{source}:{self.line}:{self.column}" if self.line else source
        return f"{place}: {self.path}: {self.message}" if self.path else f"{place}: {self.message}"
