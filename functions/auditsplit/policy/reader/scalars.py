"""Resolve the scalars of YAML as go-yaml 2 does: which text is a number, a boolean, null or text."""

from __future__ import annotations

import math
import re

_WORDS: dict[str, bool | float | None] = {
    **dict.fromkeys(("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"), True),
    **dict.fromkeys(("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"), False),
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), math.nan),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), math.inf),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), -math.inf),
}
_INTEGER = re.compile(
    r"(?P<sign>[-+]?)(?:0[xX](?P<hex>[0-9a-fA-F]+)|0[bB](?P<bin>[01]+)|0[oO]?(?P<oct>[0-7]+)|(?P<dec>0|[1-9][0-9]*))",
    re.ASCII,
)
_BASES = {"hex": 16, "bin": 2, "oct": 8, "dec": 10}
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", re.ASCII)
_MAX_UNSIGNED, _MAX_SIGNED = 2**64 - 1, 2**63
_MAX_WHOLE = 1e21  # Go writes a larger number with an exponent, and that is not an integer in JSON
_TYPES = {"bool": (bool,), "int": (int,), "float": (int, float), "null": (type(None),)}


def resolve(tag: str, text: str) -> bool | float | str | None:
    """Return the value of a scalar that is not quoted, or has a tag.

    Args:
        tag: The name of a tag of YAML itself, such as ``int``. Empty without a tag. Another tag does not count.
        text: The scalar's text.

    Raises:
        ValueError: The text is not a value of that type, or is not a number that JSON has.
    """
    if tag and tag not in (*_TYPES, "timestamp"):
        return text
    value = _untagged(text)
    kinds = _TYPES.get(tag)
    if kinds and (not isinstance(value, kinds) or (isinstance(value, bool) and tag != "bool")):
        raise ValueError(f"{text[:40]!r} is not a valid value for the tag !!{tag}")
    if tag == "timestamp":
        return text
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{text} is not a number that JSON has. Write it in quotes")
        if value.is_integer() and abs(value) < _MAX_WHOLE:
            return int(value)
    return value


def _untagged(text: str) -> bool | float | str | None:
    if text in _WORDS:
        return _WORDS[text]
    if text[0] == ".":
        return float(text) if _FLOAT.fullmatch(text) and math.isfinite(float(text)) else text
    if text[0] not in "+-0123456789":
        return text
    digits = text.replace("_", "")
    if number := _INTEGER.fullmatch(digits):
        base = next(name for name in _BASES if number[name] is not None)
        value = int(number[base], _BASES[base])
        if value <= (_MAX_SIGNED if number["sign"] == "-" else _MAX_SIGNED - 1 if number["sign"] else _MAX_UNSIGNED):
            return -value if number["sign"] == "-" else value
    if _FLOAT.fullmatch(digits) and math.isfinite(float(digits)):
        return float(digits)
    return text
