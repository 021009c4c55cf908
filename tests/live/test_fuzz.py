"""Decoding agrees with Go's encoding/json on generated bodies. ``make fuzz`` tries more of them."""

from __future__ import annotations

from fuzz import compare
from fuzz.judge import judging
from fuzz.paths import Outcome
from fuzz.run import fuzz

_BODIES = 2000


def test_decoding_agrees_with_go() -> None:
    """But for the differences that `compare.DIFFERENCES` lists, each of which is met."""
    result = fuzz(_BODIES)

    assert not result.failures, "\n".join(map(str, result.failures[:5]))
    assert result.classes[compare.SAME] > _BODIES // 3
    assert {name for names in result.classes for name in names.split(" and ")} == {
        *compare.DIFFERENCES,
        compare.INVALID,
        compare.SAME,
    }


def test_a_difference_from_go_is_found() -> None:
    """The comparison itself can fail: a lost event, another user, other bytes."""
    item = b'{"user":{"username":"alice"}}'
    body = b'{"kind":"EventList","apiVersion":"audit.k8s.io/v1","items":[%b]}' % item
    right = Outcome(events=((item, (("user.username", "alice"),)),))
    with judging() as judge:
        judged = judge(body)

    assert compare.with_go(body, right, judged) == compare.SAME
    assert not isinstance(compare.with_go(body, Outcome(), judged), str)
    assert not isinstance(compare.with_go(body, Outcome(events=((item, ()),)), judged), str)
    assert not isinstance(compare.with_go(body, Outcome(events=((b"{}", right.events[0][1]),)), judged), str)
