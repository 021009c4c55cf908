"""Questions that are asked once for all who want to know the same at a time."""

from __future__ import annotations

import asyncio

import pytest

from metricsapi.shared import Shared


class Question:
    """A question whose answers are 1, 2, 3 and so on. A negative answer is an error."""

    def __init__(self, sign: int = 1) -> None:
        """Nothing was asked yet."""
        self.asked, self._sign = 0, sign

    async def ask(self) -> int:
        """Return the next answer."""
        self.asked += 1
        answer = self.asked * self._sign
        await asyncio.sleep(0.01)
        if answer < 0:
            raise ValueError(answer)
        return answer


def test_who_asks_at_the_same_time_shares_the_answer() -> None:
    """It is asked again once the outcome's time is over, and not before."""
    question = Question()

    async def ask() -> list[int]:
        kept: Shared[int] = Shared(lambda _: 0.1)
        both = await asyncio.gather(kept.get("a", question.ask), kept.get("a", question.ask))
        third = await kept.get("a", question.ask)
        await asyncio.sleep(0.2)
        return [*both, third, await kept.get("a", question.ask)]

    assert asyncio.run(ask()) == [1, 1, 1, 2]


def test_an_error_is_for_those_who_wait_and_is_not_kept() -> None:
    """The next who asks gets an answer of their own."""
    question = Question(-1)

    async def ask() -> None:
        kept: Shared[int] = Shared(lambda _: 60.0)
        for _ in range(2):
            both = await asyncio.gather(
                kept.get("a", question.ask), kept.get("a", question.ask), return_exceptions=True
            )
            assert [type(one) for one in both] == [ValueError, ValueError]
            await asyncio.sleep(0.01)

    asyncio.run(ask())

    assert question.asked == 2


def test_the_question_goes_on_when_who_asked_has_left() -> None:
    """Its answer serves the next."""
    question = Question()

    async def ask() -> int:
        kept: Shared[int] = Shared(lambda _: 60.0)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(kept.get("a", question.ask), 0.001)
        return await kept.get("a", question.ask)

    assert asyncio.run(ask()) == 1
    assert question.asked == 1


def test_the_outcomes_are_bounded() -> None:
    """The oldest is forgotten, whatever is asked, and no timer holds it."""
    question = Question()

    async def ask() -> tuple[int, int]:
        kept: Shared[int] = Shared(lambda _: 60.0, most=3)
        await asyncio.gather(*(kept.get(key, question.ask) for key in range(9)))
        return len(kept._tasks), len(kept._timers)

    assert asyncio.run(ask()) == (3, 3)


def test_a_question_that_may_hang_is_asked_anew() -> None:
    """So its failure is not that of all who come later."""
    question = Question()

    async def ask() -> list[int]:
        kept: Shared[int] = Shared(lambda _: 60.0, join_s=0.05)
        hanging = asyncio.create_task(kept.get("a", lambda: asyncio.sleep(0.3, 99)))
        await asyncio.sleep(0.1)
        return [await kept.get("a", question.ask), await hanging, await kept.get("a", question.ask)]

    assert asyncio.run(ask()) == [1, 99, 1]
