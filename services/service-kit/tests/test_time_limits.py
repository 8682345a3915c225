"""Limits of time."""

import asyncio
from contextlib import suppress

import pytest

from service_kit.time_limits import TimeLimitExceeded, time_limit

pytestmark = pytest.mark.unit

# Only a fault lets a test wait for so long.
HANGS_SECONDS = 30


async def hang(*, swallowed: int) -> None:
    """Swallows cancellations, as `asyncio.wait_for` of Python 3.11 does if its future ends in the same moment."""
    for _ in range(swallowed):
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
    await asyncio.Event().wait()


@pytest.mark.parametrize("swallowed", [0, 1, 2])
async def test_block_ends_although_it_swallows_cancellations(swallowed: int) -> None:
    async with asyncio.timeout(HANGS_SECONDS):
        with pytest.raises(TimeLimitExceeded, match=r"within 0\.01 s"):
            async with time_limit(0.01):
                await hang(swallowed=swallowed)
        await asyncio.sleep(0)
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0


async def test_block_that_ends_in_time_has_its_own_result_and_errors() -> None:
    async with time_limit(HANGS_SECONDS):
        pass
    with pytest.raises(TimeoutError, match="of the block"):
        async with time_limit(HANGS_SECONDS):
            raise TimeoutError("of the block")


async def test_outer_limit_ends_the_block_of_an_inner_one() -> None:
    async with asyncio.timeout(HANGS_SECONDS):
        with pytest.raises(TimeLimitExceeded, match=r"within 0\.01 s"):
            async with time_limit(0.01), time_limit(HANGS_SECONDS):
                await hang(swallowed=1)


async def test_cancellation_from_outside_stays_one() -> None:
    """Even in the moment in which the limit ends."""
    has_begun = asyncio.Event()

    async def block() -> None:
        async with time_limit(0):
            has_begun.set()
            await hang(swallowed=1)

    task = asyncio.create_task(block())
    await has_begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
