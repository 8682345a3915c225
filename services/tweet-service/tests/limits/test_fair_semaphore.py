"""Permits that clients share fairly."""

import asyncio

import pytest

from tweet_service.limits.fair_semaphore import FairLocks, FairSemaphore

DEADLINE_SECONDS = 120


class Tasks:
    """Tasks that hold a permit each until their event is set. `holding` are those that have one, in order."""

    def __init__(self, semaphore: FairSemaphore) -> None:
        self._semaphore = semaphore
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._end: dict[str, asyncio.Event] = {}
        self.holding: list[str] = []

    async def start(self, *names: str) -> None:
        """The client is the first letter of a name."""
        for name in names:
            self._end[name] = asyncio.Event()
            self._tasks[name] = asyncio.create_task(self._hold(name))
        await self._settle()

    async def end(self, name: str) -> None:
        self._end[name].set()
        async with asyncio.timeout(DEADLINE_SECONDS):
            await self._tasks.pop(name)
        await self._settle()

    async def cancel(self, *names: str) -> None:
        cancelled = [self._tasks.pop(name) for name in names]
        for task in cancelled:
            task.cancel()
        await asyncio.gather(*cancelled, return_exceptions=True)
        await self._settle()

    async def close(self) -> None:
        await self.cancel(*self._tasks)

    async def _hold(self, name: str) -> None:
        async with self._semaphore.hold(name[0]):
            self.holding.append(name)
            try:
                await self._end[name].wait()
            finally:
                self.holding.remove(name)

    async def _settle(self) -> None:
        """Let all tasks run until each waits: a permit takes two turns of the event loop."""
        for _ in range(5):
            await asyncio.sleep(0)


async def test_free_permits_go_to_clients_in_rotation() -> None:
    tasks = Tasks(FairSemaphore(1))
    await tasks.start("a1", "a2", "a3", "a4", "b1", "b2", "c1")
    order = []
    while tasks.holding:
        (name,) = tasks.holding
        order.append(name)
        await tasks.end(name)
    assert order == ["a1", "a2", "b1", "c1", "a3", "b2", "a4"]


async def test_client_holds_its_share_at_most() -> None:
    tasks = Tasks(FairSemaphore(3, permits_per_client=2))
    await tasks.start("a1", "a2", "a3", "a4")
    assert tasks.holding == ["a1", "a2"]
    await tasks.start("b1", "b2")
    assert tasks.holding == ["a1", "a2", "b1"]
    await tasks.end("a1")
    assert tasks.holding == ["a2", "b1", "a3"]
    await tasks.end("a2")
    assert tasks.holding == ["b1", "a3", "b2"]
    await tasks.end("b1")
    assert tasks.holding == ["a3", "b2", "a4"]
    await tasks.close()


@pytest.mark.parametrize("cancelled", [["a2"], ["a2", "a3", "b1"], ["a1", "a2"], ["a1", "a2", "a3"]])
async def test_cancelled_tasks_leave_their_permit_and_their_place(cancelled: list[str]) -> None:
    tasks = Tasks(FairSemaphore(1))
    names = ["a1", "a2", "a3", "b1", "b2"]
    await tasks.start(*names)
    await tasks.cancel(*cancelled)
    order = []
    while tasks.holding:
        (name,) = tasks.holding
        order.append(name)
        await tasks.end(name)
    assert sorted(order) == [name for name in names if name not in cancelled]
    await tasks.start("c1")
    assert tasks.holding == ["c1"]
    await tasks.close()


async def test_permit_that_comes_with_a_cancellation_goes_to_the_next_client() -> None:
    semaphore = FairSemaphore(1)
    await semaphore.acquire("a")
    waiting = asyncio.create_task(semaphore.acquire("b"))
    await asyncio.sleep(0)
    semaphore.release("a")
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert waiting.cancelled()
    async with asyncio.timeout(DEADLINE_SECONDS), semaphore.hold("c"):
        pass


async def test_each_key_has_a_lock_that_clients_hold_in_rotation() -> None:
    locks, order = FairLocks(), []

    async def hold(key: str, client: str) -> None:
        async with locks.hold(key, client):
            order.append((key, client))
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as tasks:
        for client in ("a", "a", "a", "a", "b"):
            tasks.create_task(hold("one", client))
        tasks.create_task(hold("other", "a"))
    assert order.index(("other", "a")) == 1
    assert [client for key, client in order if key == "one"] == ["a", "a", "b", "a", "a"]
