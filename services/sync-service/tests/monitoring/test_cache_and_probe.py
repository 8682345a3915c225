"""The cache of expensive values, and probes of parts that may not answer."""

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


async def test_callers_share_one_result_until_it_expires() -> None:
    clock = Clock()
    ask, given = counting(clock)
    recent = SingleFlightCache(ask, seconds=5, clock=clock)
    assert await asyncio.gather(*(recent.get() for _ in range(10))) == [1] * 10
    clock.now = 4.9
    assert await recent.get() == 1
    clock.now = 5.0
    assert await recent.get() == 2
    assert given == [1, 2]


async def test_expired_result_is_asked_again() -> None:
    clock = Clock()
    ask, given = counting(clock)
    recent = SingleFlightCache(ask, seconds=5, clock=clock)
    assert await recent.get() == 1
    recent.expire()
    assert await asyncio.gather(*(recent.get() for _ in range(10))) == [2] * 10
    assert given == [1, 2]


async def test_slow_results_are_cached_for_longer() -> None:
    clock = Clock()
    ask, _ = counting(clock, takes=3)
    recent = SingleFlightCache(ask, seconds=5, share=0.1, clock=clock)
    assert await recent.get() == 1
    clock.now = 3 + 26.9
    assert await recent.get() == 1
    clock.now = 3 + 27.0
    assert await recent.get() == 2


async def test_error_is_raised_to_all_waiting_callers_and_not_cached() -> None:
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


async def test_cancelled_caller_does_not_cancel_the_call() -> None:
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


async def test_close_cancels_the_running_call() -> None:
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
async def test_reason_has_no_internals_of_the_driver(error: Exception, reason: str) -> None:
    with pytest.raises(ProbeFailed) as told:
        async with probing(OperationalError, OSError):
            raise error
    assert str(told.value) == reason


async def test_probe_times_out() -> None:
    with pytest.raises(ProbeFailed, match=r"^no answer within 0\.01 s$"):
        async with probing(within=0.01):
            await asyncio.Event().wait()
