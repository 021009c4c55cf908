"""The rules by which the decode paths must agree with each other and with Go, and the reason of each difference."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from auditsplit.decode.jsonscan import compact
from fuzz.judge import Judged, Verdict
from fuzz.paths import Outcome

DIFFERENCES: Mapping[str, str] = {
    "name in another case": (
        "Go's structs accept `USER` for `user`. kube-apiserver reads and writes exact names only. So does auditsplit"
    ),
    "name twice": (
        "Of `kind`, `apiVersion` and `items` twice in a body, readers differ on which counts, so the body is refused. "
        "In an item the last value counts whole, where Go merges two objects into one"
    ),
    "field not UTF-8": (
        "Go replaces the bytes by U+FFFD, so that two users could share a name. auditsplit rejects an item in which a "
        "field for routing is not UTF-8. kube-apiserver never sends one"
    ),
    "list without items": (
        "For Go it is an empty list. kube-apiserver always writes `items`, so the body is refused as incomplete"
    ),
    "logstash": '`{"event":…}` is a line of the format logstash, which auditsplit reads. For Go it is another object. '
    "A body that begins so and has another member is refused, so that no event is lost in silence",
}
"""The deliberate differences from ``encoding/json``, with their reasons."""

INVALID = "not valid JSON"
"""The class of bodies that Go refuses. The decode paths must agree on them, and no event may come from nowhere."""

SAME = "same as Go"
"""The class of bodies on which all agree."""

_LOGSTASH = re.compile(rb'\s*+\{\s*+"event"\s*+:\s*+\{')
_SURROGATE = re.compile("[\ud800-\udfff]")


class Disagreement(NamedTuple):
    """What a body showed: a sentence, and both sides."""

    sentence: str
    ours: object
    theirs: object


def among_paths(body: bytes, found: Mapping[str, tuple[Outcome, tuple[bytes | None, ...]]]) -> Disagreement | None:
    """Return where the paths differ on ``body``, or where an event has bytes that ``body`` does not have."""
    (first, expected), *others = found.items()
    for path, outcome in others:
        if outcome != expected:
            return Disagreement(f"{path!r} differs from {first!r}", outcome, expected)
    plain = compact(body)
    for raw, _ in expected[0].events:
        if raw not in body and raw not in plain:
            return Disagreement("an event's bytes are not those of the body", raw, None)
    return None


def with_go(body: bytes, ours: Outcome, judged: Judged) -> str | Disagreement:
    """Return the class of ``body``: `SAME`, `INVALID`, or the differences that it shows. A `Disagreement` otherwise."""
    if judged.folded is None or judged.exact is None:
        return INVALID
    mine = _comparable(ours)
    folded, exact = _outcome(judged.folded), _outcome(judged.exact)
    if mine == folded:
        return SAME
    if mine == exact and judged.reasons:
        return " and ".join(sorted(judged.reasons))
    if _LOGSTASH.match(body) and (exact.refused or ours.refused):
        return "logstash"
    return Disagreement("differs from Go", mine, (folded, exact, judged.reasons))


def _outcome(verdict: Verdict) -> Outcome:
    events = tuple((event.stored, tuple(sorted(event.head.items()))) for event in verdict.events or ())
    return Outcome(verdict.refused, events, compact(b",".join(verdict.bad or ())))


def _comparable(ours: Outcome) -> Outcome:
    """Return the outcome with U+FFFD for each lone surrogate, as Go has them."""
    events = tuple(
        (raw, tuple((name, _SURROGATE.sub("\ufffd", value)) for name, value in head)) for raw, head in ours.events
    )
    return ours._replace(events=events)
