"""Bodies for the fuzzer: recorded lists with changes, and lists that are built to confuse a decoder."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TypeAlias

import msgspec
from support.recording import DATA, manifest

Dice: TypeAlias = random.Random
Member: TypeAlias = tuple[bytes, bytes]

_MAX_RECORDED_BYTES = 2500
_MAX_ITEMS = 6
_VERSION = b'"audit.k8s.io/v1"'
_SPACES = (b"", b"", b"", b" ", b"\n", b"\t", b"\r\n", b"  \n ")
_START = b'{"level":"Metadata","auditID":"x","stage":"ResponseComplete","user":{"username":"mallory"}}'
_NAMES = (
    b"kind", b"apiVersion", b"items", b"metadata", b"level", b"auditID", b"stage", b"user", b"verb", b"objectRef",
    b"impersonatedUser", b"annotations", b"stageTimestamp", b"requestReceivedTimestamp", b"requestObject", b"username",
    b"namespace", b"resource", b"subresource", b"audit.k8s.io/truncated", b"event", b"",
)  # fmt: skip
_STRINGS = (
    b'"alice"', b'""', b'"\\u0061lice"', b'"al\\u0069ce"', b'"a\\/b"', b'"../../x"', b'"\\ud800"', b'"\\udc00\\ud800"',
    b'"\\ud83d\\ude00"', b'"\\uD83D\\uDE00x\\uD800"', b'"\xf0\x9f\x98\x80"', b'"\xff"', b'"\xed\xa0\x80"',
    b'"\xc0\xaf"', b'"\\u0000"', b'"\\u2028\xe2\x80\xa8"', b'"\\\\"', b'"\\\\\\""', b'"},{\\"level\\":\\""', b'"},{"',
    b'"]}"', b'"Event"', b'"EventList"', b'"audit.k8s.io/v1"', b'"audit.k8s.io/v1beta1"', b'"secrets"',
    b'"\\u0073ecrets"', b'"tokenreviews"', b'"2026-11-26T10:00:00Z"', b'"\\ud800\\\\ud800"', b'"\x7f\x80"',
)  # fmt: skip
_VALUES = (
    b"null", b"true", b"false", b"0", b"-0", b"1e400", b"-1E-400", b"1" * 400, b"0." + b"3" * 400, b"{}", b"[]",
    b"[{}]", b'{"":0}', b'{"a":1,"a":2}', b"[1,2,3]", b"[" * 1500 + b"]" * 1500, b'{"a":' * 1100 + b"0" + b"}" * 1100,
    b"[[],[[]],{}]", b"[" + _START + b"," + _START + b"]", b'{"items":[' + _START + b"," + _START + b"]}",
    b'{"kind":"EventList","apiVersion":"audit.k8s.io/v1","metadata":{},"items":[' + _START + b"]}",
    b'{"\\ud800":0}', b'{"\xff":0}', b"[" + b'"\\ud800","",' * 30 + b"0]", b'{"a" :\t0 , "b":[ 1 ] }',
    b'{"username":"a","username":null}', b'{"resource":"secrets","Resource":"pods"}', b'"a\\\\"',
)  # fmt: skip
_NO_VALUES = (
    b"01", b"+1", b".5", b"1.", b"NaN", b"Infinity", b"tru", b"[,]", b"{,}", b"[1,]", b"[" * 10_001 + b"]" * 10_001,
    b"[" + _START + b',{"level":"', b"[}", b"{]", b"", b"\xef\xbb\xbf0", b"\x0b", b"{'a':0}", b"// comment\n0",
    b'"\\x"', b'"\n"', b'"\0"', b"'a'", b'"a',
)  # fmt: skip
"""What a JSON parser refuses in the place of a value."""


def _recorded_items() -> list[bytes]:
    lists = ((DATA / entry["file"]).read_bytes() for entry in manifest()["lists"])
    items = [bytes(item) for text in lists for item in msgspec.json.decode(text, type=_List).items]
    return [item for item in items if len(item) <= _MAX_RECORDED_BYTES]


class _List(msgspec.Struct):
    items: list[msgspec.Raw]


_ITEMS = _recorded_items()
_members_of = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def generate(seed: str) -> bytes:
    """Return the body of that seed. The same seed gives the same body."""
    dice = random.Random(seed)  # noqa: S311 - repeatable
    if dice.random() < 0.12:
        body = _item(dice) if dice.random() < 0.7 else b'{"event":%b}' % _item(dice)
    else:
        body = _list(dice)
    if dice.random() < 0.15:
        for _ in range(dice.choice((1, 1, 1, 2, 4))):
            body = dice.choice(_DAMAGES)(body, dice)
    return body


def _list(dice: Dice) -> bytes:
    items = [_item(dice) if dice.random() < 0.9 else _value(dice) for _ in range(dice.randrange(_MAX_ITEMS + 1))]
    if dice.random() < 0.5:
        return b'{"kind":"EventList","apiVersion":%b,"metadata":{},"items":[%b]}' % (_VERSION, b",".join(items)) + (
            dice.choice((b"", b"\n"))
        )
    array = b"[%b]" % _around(dice, b",").join(items)
    members = [(b"kind", b'"EventList"'), (b"apiVersion", _VERSION), (b"metadata", b"{}"), (b"items", array)]
    for _ in range(dice.choice((0, 0, 0, 1, 1, 2))):
        _change(members, dice, array)
    if dice.random() < 0.3:
        dice.shuffle(members)
    return _object(members, dice)


def _item(dice: Dice) -> bytes:
    item = dice.choice(_ITEMS)
    if dice.random() < 0.35:
        return item
    members = [(name.encode(), bytes(value)) for name, value in _members_of(item).items()]
    for _ in range(dice.choice((1, 1, 1, 2, 3))):
        _change(members, dice, _value(dice))
    return _object(members, dice)


def _change(members: list[Member], dice: Dice, value: bytes) -> None:
    """Change one of ``members``: its name, its value, its presence. ``value`` is one that it may get."""
    place = dice.randrange(len(members)) if members else 0
    name, old = members[place] if members else (b"user", b"{}")
    match dice.randrange(8):
        case 0:
            members[place : place + 1] = []
        case 1:
            members[place : place + 1] = [(_disguised(name, dice), old)]
        case 2:  # twice
            members.insert(dice.randrange(len(members) + 1), (_disguised(name, dice), dice.choice((old, value))))
        case 3:
            members[place : place + 1] = [(name, value)]
        case 4:
            members.insert(dice.randrange(len(members) + 1), (b"requestObject", value))
        case 5:
            person = b'{"username":%b}' % dice.choice(_STRINGS)
            which = dice.choice((b"user", b"user", b"impersonatedUser"))
            members[:] = [(key, person if key == which else kept) for key, kept in members]
        case 6:
            inner = [(dice.choice(_NAMES[15:20]), _value(dice)) for _ in range(dice.randrange(4))]
            members.insert(dice.randrange(len(members) + 1), (dice.choice(_NAMES), _object(inner, dice)))
        case _:
            members.insert(dice.randrange(len(members) + 1), (_disguised(dice.choice(_NAMES), dice), value))


def _value(dice: Dice) -> bytes:
    return dice.choice(dice.choices((_STRINGS, _VALUES, _NO_VALUES), (10, 10, 1))[0])


def _disguised(name: bytes, dice: Dice) -> bytes:
    """Return a name as it is, in another case, with characters that Go folds, or with escapes."""
    match dice.randrange(8):
        case 0:
            return name.upper()
        case 1:
            return name.capitalize()
        case 2:
            return name.replace(b"s", "\u017f".encode()).replace(b"k", "\u212a".encode())
        case 3:
            return b"".join(b"\\u%04x" % byte if dice.random() < 0.3 else bytes([byte]) for byte in name)
        case 4:
            return name + dice.choice((b" ", b"\\u0000", b"\xff", b"\\ud800", b"\0", b"\\x", b"\\u00e9", b"\n"))
        case _:
            return name


def _around(dice: Dice, token: bytes) -> bytes:
    return dice.choice(_SPACES) + token + dice.choice(_SPACES)


def _object(members: list[Member], dice: Dice) -> bytes:
    if dice.random() < 0.7:
        return b"{%b}" % b",".join(b'"%b":%b' % member for member in members)
    text = b",".join(b'%b"%b"%b%b' % (_around(dice, b""), name, _around(dice, b":"), value) for name, value in members)
    return _around(dice, b"") + b"{%b%b}" % (text, dice.choice(_SPACES)) + dice.choice(_SPACES)


def _truncated(body: bytes, dice: Dice) -> bytes:
    return body[: dice.randrange(len(body) + 1)]


def _flipped(body: bytes, dice: Dice) -> bytes:
    if not body:
        return body
    place = dice.randrange(len(body))
    return body[:place] + bytes([body[place] ^ 1 << dice.randrange(8)]) + body[place + 1 :]


def _inserted(body: bytes, dice: Dice) -> bytes:
    place = dice.randrange(len(body) + 1)
    return body[:place] + dice.choice((b"\0", b"\\", b'"', b"{", b"}", b"[", b"]", b",", b"\xff", b" ")) + body[place:]


def _removed(body: bytes, dice: Dice) -> bytes:
    start = dice.randrange(len(body) + 1)
    return body[:start] + body[start + dice.choice((1, 1, 2, 20)) :]


def _repeated(body: bytes, dice: Dice) -> bytes:
    start = dice.randrange(len(body) + 1)
    piece = body[start : start + dice.randrange(1, 300)]
    place = dice.randrange(len(body) + 1)
    return body[:place] + piece + body[place:]


def _framed(body: bytes, dice: Dice) -> bytes:
    before, after = dice.choice(
        ((b"\xef\xbb\xbf", b""), (b"", b"\0"), (b"\n", b"\n\n"), (b"", b"{}"), (b" \t", b"\r\n"))
    )
    return before + body + after


_DAMAGES: tuple[Callable[[bytes, Dice], bytes], ...] = (
    _truncated, _flipped, _flipped, _inserted, _removed, _repeated, _framed, _framed,
)  # fmt: skip
