"""Faults of the databases: locks, lost connections, changed schemas."""

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from faults.catalogue.base import Fault, now, random_pause
from faults.replica_diff import ACCOUNTS
from faults.system import System
from faults.writers import OutcomeUnknown, Rejected

COPY = "tweets.tweets_copy"
_BLOCKED_WITHIN_SECONDS = 8.0
_POLL_SECONDS = 0.05
_TWEETS = 5


@asynccontextmanager
async def locked_copy(system: System) -> AsyncIterator[None]:
    """Block all writes to the copy of the tweets while the context is open."""
    lock = system.databases.table_locked(COPY)
    await asyncio.to_thread(lock.__enter__)
    try:
        yield
    finally:
        await asyncio.to_thread(lock.__exit__, None, None, None)


async def _until_sync_waits(system: System) -> None:
    """Wait until sync-service waits for the lock. Give up after some seconds: it may be unable to write."""
    deadline = time.monotonic() + _BLOCKED_WITHIN_SECONDS
    while time.monotonic() < deadline:
        if await asyncio.to_thread(system.databases.has_lock_waiters, COPY):
            return
        await asyncio.sleep(_POLL_SECONDS)


class LockHeld(Fault):
    """Another transaction locks every row of the copy for some seconds."""

    name = "row locks held"
    weight = 6

    async def inject(self, system: System, rng: random.Random) -> float:
        async with locked_copy(system):
            await random_pause(rng, 2, 5)
        return now()


class KillBeforeWrite(Fault):
    """SIGKILL while a write waits for a lock: the events are fetched and not written.

    Some of the events belong to tweets that never change again. A lost event of another tweet could be hidden by a
    later one.
    """

    name = "kill -9 sync before the write"
    weight = 12

    async def inject(self, system: System, rng: random.Random) -> float:
        async with locked_copy(system):
            system.stack.pause("sync")
            try:
                await self._write_tweets(system)
                await random_pause(rng, 0.5, 1)
            finally:
                system.stack.resume("sync")
            await _until_sync_waits(system)
            # Let the sync fetch the next events while this write waits.
            await random_pause(rng, 0.2, 0.5)
            killed = now()
            await system.kill("sync")
        await system.start("sync")
        return killed

    @staticmethod
    async def _write_tweets(system: System) -> None:
        with contextlib.suppress(Rejected, OutcomeUnknown):
            author = await system.client.register()
            for number in range(_TWEETS):
                await system.client.tweet(author, f"Tweet {number}, never changed")


class ConnectionsKilled(Fault):
    """MySQL closes every connection of the sync, up to four times in a row."""

    name = "connections killed"
    weight = 10

    async def inject(self, system: System, rng: random.Random) -> float:
        for _ in range(rng.randint(1, 4)):
            await asyncio.to_thread(system.databases.kill_sync_connections)
            await random_pause(rng, 0, 0.4)
        return now()


class ColumnAdded(Fault):
    """ALTER TABLE on the captured table under load: add a column and drop it again."""

    name = "ALTER TABLE"
    weight = 4

    async def inject(self, system: System, rng: random.Random) -> float:
        query = system.databases.query
        column = f"fault_{rng.randrange(10**6)}"
        await asyncio.to_thread(query, f"ALTER TABLE {ACCOUNTS} ADD COLUMN {column} INT NULL")
        await random_pause(rng, 0.5, 1.5)
        await asyncio.to_thread(query, f"ALTER TABLE {ACCOUNTS} DROP COLUMN {column}")
        return now()


class FieldsAdded(Fault):
    """Add fields to documents that no route copies, with types that no tweet has."""

    name = "new document fields"
    weight = 4

    async def inject(self, system: System, rng: random.Random) -> float:
        tweets = system.databases.documents["tweets"]
        name = f"fault_{rng.randrange(10**6)}"
        value = {"deep": [{"er": 2**40}], "ratio": 0.1, "raw": b"\x00\xff", "huge": 2**62}

        def change() -> None:
            newest = [each["_id"] for each in tweets.find({}, {"_id": True}).sort("_id", -1).limit(50)]
            tweets.update_many({"_id": {"$in": newest}}, {"$set": {name: value}})

        await asyncio.to_thread(change)
        return now()
