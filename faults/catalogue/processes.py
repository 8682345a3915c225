"""Faults of processes: killed, stopped, paused."""

import asyncio
import contextlib
import random
import time

from faults.catalogue.base import Fault, now, random_pause
from faults.system import SESSION_TIMEOUT_MS, System
from faults.writers import OutcomeUnknown, Rejected

# Less than the sync's own timeout for MongoDB.
_BLOCKED_WITHIN_SECONDS = 3.0
_POLL_SECONDS = 0.1
_POLLS_WITH_LAG = 3


async def _kill_and_start(system: System, component: str) -> float:
    """Return when the component was killed."""
    killed = now()
    await system.kill(component)
    await system.start(component)
    return killed


class Kill(Fault):
    """SIGKILL at a random time, then a start."""

    def __init__(self, component: str, weight: int) -> None:
        self.name = f"kill -9 {component}"
        self.weight = weight
        self._component = component

    async def inject(self, system: System, rng: random.Random) -> float:
        await random_pause(rng, 0, 0.5)
        return await _kill_and_start(system, self._component)


class Pause(Fault):
    """SIGSTOP for up to `longest` seconds, then SIGCONT: the process exists and does not respond."""

    def __init__(self, component: str, weight: int, longest: float = 5) -> None:
        self.name = f"pause {component}"
        self.weight = weight
        self._component = component
        self._longest = longest

    async def inject(self, system: System, rng: random.Random) -> float:
        system.stack.pause(self._component)
        try:
            await random_pause(rng, 1, self._longest)
        finally:
            system.stack.resume(self._component)
        return now()


class Down(Fault):
    """Stop gracefully, wait some seconds, start again."""

    def __init__(self, component: str, weight: int) -> None:
        self.name = f"{component} down"
        self.weight = weight
        self._component = component

    async def inject(self, system: System, rng: random.Random) -> float:
        await system.stop(self._component)
        await random_pause(rng, 2, 8)
        await system.start(self._component)
        return now()


class Restart(Fault):
    """SIGTERM: the batch in flight is finished and committed."""

    name = "restart sync"
    weight = 8

    async def inject(self, system: System, rng: random.Random) -> float:  # noqa: ARG002 - no random choice
        await system.counts.sample()
        stopped = now()
        await asyncio.to_thread(system.stack.restart, "sync")
        return stopped


class KillInBacklog(Fault):
    """Pause the sync until it has a backlog, resume it, and kill it in the middle of a large batch."""

    name = "kill -9 sync in a backlog"
    weight = 14

    async def inject(self, system: System, rng: random.Random) -> float:
        system.stack.pause("sync")
        await random_pause(rng, 1, 2)
        system.stack.resume("sync")
        await random_pause(rng, 0, 0.15)
        return await _kill_and_start(system, "sync")


class KillBeforeCommit(Fault):
    """SIGKILL after the write, before the commit of its offset.

    Pause MongoDB until the sync waits for it, then pause the sync and resume MongoDB: it executes the write from its
    socket, and the sync never receives the reply.
    """

    name = "kill -9 sync before the commit"
    weight = 12

    async def inject(self, system: System, rng: random.Random) -> float:
        try:
            system.stack.pause("mongo")
            await self._write_to_accounts(system)
            await self._until_sync_waits(system)
            system.stack.pause("sync")
        finally:
            system.stack.resume("mongo")
        await random_pause(rng, 0.3, 0.6)
        return await _kill_and_start(system, "sync")

    @staticmethod
    async def _write_to_accounts(system: System) -> None:
        with contextlib.suppress(Rejected, OutcomeUnknown):
            await system.client.register()

    @staticmethod
    async def _until_sync_waits(system: System) -> None:
        """Wait until the lag stays above zero. Give up after some seconds: the sync may be unable to write."""
        deadline, seen = time.monotonic() + _BLOCKED_WITHIN_SECONDS, 0
        while time.monotonic() < deadline and seen < _POLLS_WITH_LAG:
            await asyncio.sleep(_POLL_SECONDS)
            seen = seen + 1 if await system.counts.lag("users") else 0


class KillInRebalance(Fault):
    """A second member joins, and one of the two is killed during the rebalance."""

    name = "kill -9 in a rebalance"
    weight = 6

    async def inject(self, system: System, rng: random.Random) -> float:
        await system.second.start()
        await random_pause(rng, 0, 3)
        if rng.random() < 0.5:
            killed = await _kill_and_start(system, "sync")
            await system.second.stop()
        else:
            killed = now()
            await system.counts.sample()
            await asyncio.to_thread(system.second.process.kill)
        return killed


class Zombie(Fault):
    """Pause the sync beyond its session timeout: a second member takes its partitions, then the sync resumes."""

    name = "zombie sync"
    weight = 5

    async def inject(self, system: System, rng: random.Random) -> float:
        await system.second.start()
        await random_pause(rng, 2, 3.5)
        system.stack.pause("sync")
        try:
            await random_pause(rng, 1.3 * SESSION_TIMEOUT_MS / 1000, 2 * SESSION_TIMEOUT_MS / 1000)
        finally:
            system.stack.resume("sync")
        resumed = now()
        await random_pause(rng, 0.5, 2)
        await system.counts.sample()
        await system.second.stop()
        return resumed
