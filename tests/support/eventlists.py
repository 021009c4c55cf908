"""Builders: events and EventLists as bytes, items that parsers choke on, and Hypothesis strategies for all of them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

ENVELOPE = b'{"kind":"EventList","apiVersion":"audit.k8s.io/v1","metadata":{},"items":['
NAMED = {"kind": "Event", "apiVersion": "audit.k8s.io/v1"}
TIME = "2026-11-23T11:29:49.380360Z"

PROPERTY = settings(max_examples=100, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
"""For every property: the same examples each time, whatever the machine's load."""


def event(username: str | None = "alice", **fields: Any) -> bytes:
    """Return an item as kube-apiserver writes it; ``fields`` replace or add members, a null user name is no name."""
    document = {
        "level": "Request",
        "auditID": "3df2e8a2-c03a-405f-bbd5-ebf725831bbf",
        "stage": "ResponseComplete",
        "requestURI": "/api/v1/namespaces/team-a/configmaps?limit=500",
        "verb": "list",
        "user": {} if username is None else {"username": username, "groups": ["system:authenticated"]},
        "objectRef": {"resource": "configmaps", "namespace": "team-a", "apiVersion": "v1"},
        "requestReceivedTimestamp": TIME,
        "stageTimestamp": TIME,
        **fields,
    }
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()


def line(username: str | None = "alice", **fields: Any) -> bytes:
    """Return an event as a log line has it, with its kind, and without the line feed."""
    item = event(username, **fields)
    return b'{"kind":"Event","apiVersion":"audit.k8s.io/v1",' + item[1:]


def eventlist(items: Iterable[bytes]) -> bytes:
    """Return the body that kube-apiserver posts for ``items``."""
    return ENVELOPE + b",".join(items) + b"]}\n"


def numbered(count: int, username: str = "alice") -> list[bytes]:
    """Return ``count`` events that differ."""
    return [event(username, auditID=f"id-{number}") for number in range(count)]


def carrying(text: bytes, username: str = "mallory") -> bytes:
    """Return an event whose ``requestObject`` is the JSON ``text`` as it stands."""
    return event(username)[:-1] + b',"requestObject":' + text + b"}"


HOSTILE = {
    name: carrying(text)
    for name, text in {
        "lone surrogate": rb'{"a":"\ud800"}',
        "lone low surrogate": rb'"\udfff"',
        "pair the wrong way round": rb'"\udc00\ud800"',
        "surrogate in a name": rb'{"\ud800":1}',
        "9,000 nested arrays": b"[" * 9000 + b"]" * 9000,
        "9,000 nested objects": b'{"a":' * 9000 + b"1" + b"}" * 9000,
        "100,000 nested": b'[{"a":' * 50_000 + b"null" + b"}]" * 50_000,
        "NaN": b'{"a":NaN}',
        "infinities": b"[Infinity,-Infinity]",
        "1e400": b"1e400",
        "-1e400": b"[-1e400]",
        "5,000 digits": b"9" * 5000,
        "100,000 digits": b"-" + b"1" * 100_000,
        "invalid UTF-8": b'"\xff\xfe"',
        "overlong UTF-8": b'"\xc0\x80"',
        "surrogate in UTF-8": b'"\xed\xa0\x80"',
        "torn UTF-8": b'"\xe3\x83"',
        "control characters": b'"\x00\x01\x08\x1b\x1f\x7f\tx"',
        "separators of Unicode": '"\u2028\u2029\u0085\ufeff"'.encode(),
        "form feed and file separators": b'"\x0b\x0c\x1c\x1d\x1e"',
        "brackets and quotes in strings": rb'{"]}":"]}],\"items\":[{\\","\\\\\"":"{[\\"}',
        "an envelope in a string": json.dumps(ENVELOPE.decode()).encode(),
        "an envelope": ENVELOPE + b"]}",
        "routing fields in the body": b'{"user":{"username":"alice"},"kind":"Pod","apiVersion":"v1","level":7}',
        "one name twice": b'{"a":1,"a":{"a":[]},"a":3}',
        "empty names": b'{"":{"":[{}]}}',
        "a megabyte of escapes": b'"' + rb"\\\"" * 262_144 + b'"',
        "a megabyte of white space": b"[" + b" \t" * 524_288 + b"]",
    }.items()
}
"""Items by ``mallory``, each a valid event but for its ``requestObject``, on which some JSON parser refuses all."""

BAD = {
    "number": b"42",
    "null": b"null",
    "string": b'"x"',
    "truth": b"true",
    "array": b'[{"level":"Metadata"}]',
    "empty object": b"{}",
    "blank object": b"{ \t}",
    "long blank object": b"{" + b" " * 100 + b"}",
    "object without names": b"{42}",
    "another kind": b'{"kind":"Pod","apiVersion":"audit.k8s.io/v1","level":"Metadata"}',
    "another version": b'{"kind":"Event","apiVersion":"audit.k8s.io/v1beta1","level":"Metadata"}',
    "null as kind": b'{"kind":null,"level":"Metadata"}',
    "null as version": b'{"level":"Metadata","apiVersion":null}',
    "another version alone": b'{"apiVersion":"audit.k8s.io/v1beta1","level":"Metadata"}',
    "a list": b'{"kind":"EventList","apiVersion":"audit.k8s.io/v1","items":[]}',
    "number as user": b'{"level":"Metadata","user":42}',
    "array as user": b'{"level":"Metadata","user":[]}',
    "number as user name": b'{"level":"Metadata","user":{"username":42}}',
    "object as user name": b'{"level":"Metadata","user":{"username":{}}}',
    "number as impersonated user": b'{"level":"Metadata","impersonatedUser":{"username":1}}',
    "string as object reference": b'{"level":"Metadata","objectRef":"pods"}',
    "array as annotations": b'{"level":"Metadata","annotations":[]}',
    "number as annotation": b'{"level":"Metadata","annotations":{"audit.k8s.io/truncated":1}}',
    "number as level": b'{"level":1}',
    "number as time": b'{"level":"Metadata","stageTimestamp":1}',
    "unknown escape in the user name": rb'{"user":{"username":"\x"}}',
    "unknown escape in a name": rb'{"\x":1}',
    "NaN as verb": b'{"verb":NaN}',
}
"""What may stand in an item's place and is no event of this version."""


# Strategies.

json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)
"""JSON documents as Python has them."""

_strings = st.builds(
    lambda text, ascii_only: json.dumps(text, ensure_ascii=ascii_only), st.text(max_size=8), st.booleans()
)
_scalars = (
    _strings
    | st.sampled_from(["null", "true", "false", "0", "-0.0", "1e400", "1E-400", "NaN", r'"\ud800"', r'"\\\""', '"]}"'])
    | st.integers(-(10**40), 10**40).map(str)
    | st.integers(min_value=1, max_value=6000).map(lambda digits: "7" * digits)
)
_gaps = st.sampled_from(["", "", "", " ", "\t", "  "])


def _array(elements: list[str], gap: str) -> str:
    return f"[{gap}{f'{gap},'.join(elements)}]"


def _object(members: list[tuple[str, str]], gap: str) -> str:
    return f"{{{gap}{f',{gap}'.join(f'{name}{gap}:{value}' for name, value in members)}{gap}}}"


json_texts: st.SearchStrategy[str] = st.recursive(
    _scalars,
    lambda inner: (
        st.builds(_array, st.lists(inner, max_size=4), _gaps)
        | st.builds(_object, st.lists(st.tuples(_strings, inner), max_size=4), _gaps)
    ),
    max_leaves=10,
)
"""JSON texts on one line: numbers of any size, lone surrogates, NaN, a name twice, white space."""

_nullable = _strings | st.just("null") | st.just(r'"\udcff"') | st.just(r'"\u0061"')
_users = st.just("null") | st.builds(
    _object, st.lists(st.tuples(st.sampled_from(['"username"', r'"user\u006eame"']), _nullable), max_size=2), _gaps
)
_references = st.just("null") | st.builds(
    _object,
    st.lists(st.tuples(st.sampled_from(['"namespace"', '"resource"', '"subresource"']), _nullable), max_size=3),
    _gaps,
)
_annotations = st.just("null") | st.builds(
    _object, st.lists(st.tuples(st.just('"audit.k8s.io/truncated"') | _strings, _nullable), max_size=3), _gaps
)
_head_members = st.one_of(
    st.tuples(st.just('"annotations"'), _annotations),
    st.tuples(st.sampled_from(['"user"', '"impersonatedUser"', r'"us\u0065r"']), _users),
    st.tuples(st.just('"objectRef"'), _references),
    st.tuples(
        st.sampled_from(['"level"', '"stage"', '"verb"', '"stageTimestamp"', '"requestReceivedTimestamp"']), _nullable
    ),
)
_body_members = st.tuples(
    st.sampled_from(['"requestObject"', '"responseObject"', '"x"', '""', r'"\ud800"']), json_texts
)

items: st.SearchStrategy[bytes] = st.builds(
    _object, st.lists(_head_members | _body_members, min_size=1, max_size=6), _gaps
).map(str.encode)
"""Events without kind and version, any field twice, anything in the bodies, each on one line."""

names: st.SearchStrategy[str] = st.one_of(
    st.text(st.characters(), min_size=1, max_size=20),  # with lone surrogates
    st.text("aAkK\u212as\u017f\u00e9e\u0301./\\_~%@:-+=, \0\n", min_size=1, max_size=12),
    st.text("aA\u00e9%.", min_size=60, max_size=210),
    st.sampled_from(["..", ".", "_no-user", "none", "_rejected", ".auditsplit", "auditsplit", "rejected", "a" * 200]),
)
"""User names: what a name can hold, near misses of other names, and long ones."""
