"""Answers that are kept for a moment."""

import asyncio
from collections.abc import Callable

import pytest
from sqlalchemy.exc import OperationalError

from service_kit.background import TaskEnded
from sync_service.monitoring.cache import SingleFlightCache
from sync_service.probe import ProbeFailed, probing


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def counting(clock: Clock, *, takes: float = 0.0) -> tuple[Callable[[], "asyncio.Future[int]"], list[int]]:
    """What answers 1, 2, 3 …, each in so many seconds of the clock; and the answers so far."""
    given: list[int] = []

    async def ask() -> int:
        await asyncio.sleep(0)
        clock.now += takes
        given.append(len(given) + 1)
        return given[-1]

    return lambda: asyncio.ensure_future(ask()), given


async def test_all_who_come_share_one_answer_until_it_is_old() -> None:
    clock = Clock()
    ask, given = counting(clock)
    recent = SingleFlightCache(ask, seconds=5, clock=clock)
    assert await asyncio.gather(*(recent.get() for _ in range(10))) == [1] * 10
    clock.now = 4.9
    assert await recent.get() == 1
    clock.now = 5.0
    assert await recent.get() == 2
    assert given == [1, 2]


async def test_what_takes_long_is_asked_for_less_often() -> None:
    clock = Clock()
    ask, _ = counting(clock, takes=3)
    recent = SingleFlightCache(ask, seconds=5, share=0.1, clock=clock)
    assert await recent.get() == 1
    clock.now = 3 + 26.9
    assert await recent.get() == 1
    clock.now = 3 + 27.0
    assert await recent.get() == 2


async def test_failure_is_told_to_all_who_waited_and_kept_for_nobody() -> None:
    fails = True

    async def ask() -> str:
        await asyncio.sleep(0)
        if fails:
            raise ProbeFailed("down")
        return "up"

    recent = SingleFlightCache(ask, seconds=5)
    outcomes = await asyncio.gather(*(recent.get() for _ in range(3)), return_exceptions=True)
    assert [str(each) for each in outcomes] == ["down"] * 3
    fails = False
    assert await recent.get() == "up"


async def test_who_gives_up_leaves_the_others_waiting() -> None:
    go_on = asyncio.Event()

    async def ask() -> str:
        await go_on.wait()
        return "answer"

    recent = SingleFlightCache(ask, seconds=5)
    patient, impatient = asyncio.create_task(recent.get()), asyncio.create_task(recent.get())
    await asyncio.sleep(0)
    impatient.cancel()
    go_on.set()
    assert await patient == "answer"


async def test_closing_ends_what_is_being_asked() -> None:
    recent = SingleFlightCache(asyncio.Event().wait, seconds=5)
    waiting = asyncio.create_task(recent.get())
    await asyncio.sleep(0)
    await recent.close()
    with pytest.raises(TaskEnded):
        await waiting


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OperationalError("SELECT 1", {}, Exception(2003, "Can't connect")), "2003: Can't connect"),
        (OSError("away (configured timeouts: 2 s), full error: {...}"), "OSError: away"),
        (OSError(), "OSError"),
    ],
)
async def test_reason_is_what_people_can_use(error: Exception, reason: str) -> None:
    with pytest.raises(ProbeFailed) as told:
        async with probing(OperationalError, OSError):
            raise error
    assert str(told.value) == reason


async def test_silence_is_no_answer() -> None:
    with pytest.raises(ProbeFailed, match=r"^no answer within 0\.01 s$"):
        async with probing(within=0.01):
            await asyncio.Event().wait()
