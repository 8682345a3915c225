"""Who goes first when more passwords wait than can be hashed."""

import asyncio
from contextlib import suppress

import pytest

from auth_service.passwords.hashing import PasswordHasher
from auth_service.ranked_queue import QueueFull, RankedQueue


class Crowd:
    """Enters a queue with one place that is taken, and remembers the order of admission."""

    def __init__(self, queue: RankedQueue) -> None:
        self.queue = queue
        self.admitted: list[str] = []
        self.refused: list[str] = []

    async def enter(self, name: str, rank: int) -> None:
        try:
            async with self.queue.place(rank):
                self.admitted.append(name)
        except QueueFull:
            self.refused.append(name)


async def test_lowest_rank_goes_first_and_equal_ranks_in_the_order_of_arrival() -> None:
    crowd = Crowd(RankedQueue(1, waiting=10))
    async with asyncio.TaskGroup() as tasks, crowd.queue.place(0):
        for name, rank in (("c", 5), ("b1", 1), ("d", 9), ("a", 0), ("b2", 1)):
            tasks.create_task(crowd.enter(name, rank))
            await asyncio.sleep(0)
        assert len(crowd.queue) == 6
    assert crowd.admitted == ["a", "b1", "b2", "c", "d"]
    assert len(crowd.queue) == 0


async def test_highest_rank_gives_way_when_the_queue_is_full() -> None:
    crowd = Crowd(RankedQueue(1, waiting=2))
    async with asyncio.TaskGroup() as tasks, crowd.queue.place(0):
        for name, rank in (("flood1", 7), ("flood2", 8), ("new", 0), ("flood3", 9)):
            tasks.create_task(crowd.enter(name, rank))
            await asyncio.sleep(0)
    assert crowd.refused == ["flood2", "flood3"]
    assert crowd.admitted == ["new", "flood1"]


async def test_cancelled_client_leaves_its_place_to_the_next() -> None:
    crowd = Crowd(RankedQueue(1, waiting=10))
    async with asyncio.TaskGroup() as tasks, crowd.queue.place(0):
        cancelled = tasks.create_task(crowd.enter("cancelled", 0))
        tasks.create_task(crowd.enter("next", 1))
        await asyncio.sleep(0)
        cancelled.cancel()
        await asyncio.sleep(0)
        assert len(crowd.queue) == 2
    assert crowd.admitted == ["next"]


async def test_client_that_is_cancelled_when_it_is_admitted_leaves_its_place_to_the_next() -> None:
    crowd = Crowd(RankedQueue(1, waiting=10))
    async with crowd.queue.place(0):
        cancelled = asyncio.create_task(crowd.enter("cancelled", 0))
        following = asyncio.create_task(crowd.enter("next", 1))
        await asyncio.sleep(0)
    cancelled.cancel()
    await asyncio.wait([cancelled, following], timeout=10)
    assert crowd.admitted == ["next"]
    assert len(crowd.queue) == 0


async def test_place_that_becomes_free_in_the_moment_of_a_cancellation_goes_to_the_next() -> None:
    """As when MySQL hangs: the deadlines of many requests end together."""
    crowd = Crowd(RankedQueue(1, waiting=10))
    async with crowd.queue.place(0):
        cancelled = [asyncio.create_task(crowd.enter(f"cancelled {number}", 0)) for number in range(3)]
        following = asyncio.create_task(crowd.enter("next", 1))
        await asyncio.sleep(0)
        for task in cancelled:
            task.cancel()
    await asyncio.wait([*cancelled, following], timeout=10)
    assert crowd.admitted == ["next"]
    assert len(crowd.queue) == 0


async def test_full_queue_takes_the_place_of_a_client_that_is_cancelled_in_the_same_moment() -> None:
    crowd = Crowd(RankedQueue(1, waiting=1))
    async with crowd.queue.place(0):
        cancelled = asyncio.create_task(crowd.enter("cancelled", 5))
        await asyncio.sleep(0)
        # It enters before the other one sees its cancellation.
        following = asyncio.create_task(crowd.enter("next", 1))
        cancelled.cancel()
        await asyncio.sleep(0)
    await asyncio.wait([cancelled, following], timeout=10)
    assert (crowd.admitted, crowd.refused) == (["next"], [])
    assert len(crowd.queue) == 0


async def test_password_of_a_client_without_attempts_is_hashed_before_a_flood() -> None:
    hasher, order = PasswordHasher(1, memory_kib=1024, rounds=1), []

    async def guess(name: str, rank: int) -> None:
        await hasher.verify("a password", None, rank=rank)
        order.append(name)

    try:
        flood = [asyncio.create_task(guess(f"flood {number}", number)) for number in range(20)]
        await asyncio.sleep(0)
        await guess("new client", 0)
        # One was being hashed, and one with the same rank came before.
        assert len(order) <= 2
        await asyncio.gather(*flood)
    finally:
        hasher.close()
    assert order[-1] == "flood 19"


async def test_place_is_free_again_after_an_error() -> None:
    queue = RankedQueue(1, waiting=1)
    with suppress(ZeroDivisionError):
        async with queue.place(0):
            raise ZeroDivisionError
    async with queue.place(3):
        assert len(queue) == 1


def test_failed_hash_is_reported() -> None:
    hasher = PasswordHasher(1, memory_kib=1024, rounds=1)
    try:
        with pytest.raises(Exception, match="hash"):
            asyncio.run(hasher.verify("a password", "not a hash"))
        assert hasher.queued == 0
    finally:
        hasher.close()
