"""Small files that stand for large documents."""

from __future__ import annotations

ALIAS_BOMB = 'a0: &a0 ["lol"]\n' + "".join(
    f"a{number}: &a{number} [{', '.join([f'*a{number - 1}'] * 10)}]\n" for number in range(1, 10)
)
"""A billion laughs: ten aliases on each of nine lines."""
