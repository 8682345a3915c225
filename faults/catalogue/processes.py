"""Processes that are killed, stopped, paused."""

import asyncio
import contextlib
import random
import time

from faults.catalogue.base import Fault, moment, now
from faults.system import SESSION_TIMEOUT_MS, System
from faults.writers import Refused, Unknown

# MongoDB is not paused for longer than the sync waits for an answer.
_BLOCKED_WITHIN_SECONDS = 3.0
_LOOK_SECONDS = 0.1
_LOOKS_WITH_LAG = 3


async def _killed_and_started(system: System) -> float:
    """The sync. When it was killed."""
    killed = now()
    await system.kill("sync")
    await system.start("sync")
    return killed


class Kill(Fault):
    """SIGKILL at any moment, and a start."""

    def __init__(self, component: str, weight: int) -> None:
        self.name = f"kill -9 {component}"
        self.weight = weight
        self._component = component

    async def inject(self, system: System, rng: random.Random) -> float:
        await moment(rng, 0, 0.5)
        killed = now()
        await system.kill(self._component)
        await system.start(self._component)
        return killed


class Pause(Fault):
    """SIGSTOP for some seconds, then SIGCONT: the process is there, and does not answer."""

    def __init__(self, component: str, weight: int) -> None:
        self.name = f"pause {component}"
        self.weight = weight
        self._component = component

    async def inject(self, system: System, rng: random.Random) -> float:
        system.stack.pause(self._component)
        try:
            await moment(rng, 1, 5)
        finally:
            system.stack.resume(self._component)
        return now()


class Down(Fault):
    """Stopped in good order, away for some seconds, started again."""

    def __init__(self, component: str, weight: int) -> None:
        self.name = f"{component} down"
        self.weight = weight
        self._component = component

    async def inject(self, system: System, rng: random.Random) -> float:
        await system.stop(self._component)
        await moment(rng, 2, 8)
        await system.start(self._component)
        return now()


class Restart(Fault):
    """SIGTERM: what is in flight is finished and committed."""

    name = "restart sync"
    weight = 8

    async def inject(self, system: System, rng: random.Random) -> float:  # noqa: ARG002 - nothing to choose
        await system.counts.look()
        stopped = now()
        await asyncio.to_thread(system.stack.restart, "sync")
        return stopped


class KillInBacklog(Fault):
    """Paused until events have piled up, killed a moment after it is let go: in the middle of large batches."""

    name = "kill -9 sync in a backlog"
    weight = 14

    async def inject(self, system: System, rng: random.Random) -> float:
        system.stack.pause("sync")
        await moment(rng, 1, 2)
        system.stack.resume("sync")
        await moment(rng, 0, 0.15)
        return await _killed_and_started(system)


class KillBeforeCommit(Fault):
    """Killed when the write is done and its offset isn't committed.

    MongoDB is paused until the sync waits for it, then the sync is paused and MongoDB goes on: it finds the write in
    its socket and does it, and nobody is there to hear of it.
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
        await moment(rng, 0.3, 0.6)
        return await _killed_and_started(system)

    @staticmethod
    async def _write_to_accounts(system: System) -> None:
        with contextlib.suppress(Refused, Unknown):
            await system.client.register()

    @staticmethod
    async def _until_sync_waits(system: System) -> None:
        """With a lag that stays; not for ever, as it may be in no state to write."""
        deadline, seen = time.monotonic() + _BLOCKED_WITHIN_SECONDS, 0
        while time.monotonic() < deadline and seen < _LOOKS_WITH_LAG:
            await asyncio.sleep(_LOOK_SECONDS)
            seen = seen + 1 if await system.counts.lag("users") else 0


class KillInRebalance(Fault):
    """A second member joins, and one of the two is killed while the partitions are given away."""

    name = "kill -9 in a rebalance"
    weight = 6

    async def inject(self, system: System, rng: random.Random) -> float:
        await system.second.start()
        await moment(rng, 0, 3)
        killed = now()
        if rng.random() < 0.5:
            await system.kill("sync")
            await system.start("sync")
            await system.second.stop()
        else:
            await system.counts.look()
            await asyncio.to_thread(system.second.process.kill)
        return killed


class Zombie(Fault):
    """Paused for longer than a session lasts: its partitions go to a second member, and then it wakes and writes on."""

    name = "zombie sync"
    weight = 5

    async def inject(self, system: System, rng: random.Random) -> float:
        await system.second.start()
        await moment(rng, 2, 3.5)
        system.stack.pause("sync")
        try:
            await moment(rng, 1.3 * SESSION_TIMEOUT_MS / 1000, 2 * SESSION_TIMEOUT_MS / 1000)
        finally:
            system.stack.resume("sync")
        resumed = now()
        await moment(rng, 0.5, 2)
        await system.counts.look()
        await system.second.stop()
        return resumed
