"""What databases do to a client that has done nothing wrong, and what people do to databases."""

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from faults.catalogue.base import Fault, moment, now
from faults.copies import ACCOUNTS
from faults.system import System
from faults.writers import Refused, Unknown

COPY = "tweets.tweets_copy"
_BLOCKED_WITHIN_SECONDS = 8.0
_LOOK_SECONDS = 0.05
_TWEETS = 5


@asynccontextmanager
async def locked_copy(system: System) -> AsyncIterator[None]:
    """Nothing can be written to the copy of the tweets inside it."""
    lock = system.databases.table_locked(COPY)
    await asyncio.to_thread(lock.__enter__)
    try:
        yield
    finally:
        await asyncio.to_thread(lock.__exit__, None, None, None)


async def _until_sync_waits(system: System) -> None:
    """For the lock; not for ever, as it may be in no state to write."""
    deadline = time.monotonic() + _BLOCKED_WITHIN_SECONDS
    while time.monotonic() < deadline:
        if await asyncio.to_thread(system.databases.somebody_waits_for, COPY):
            return
        await asyncio.sleep(_LOOK_SECONDS)


class LockHeld(Fault):
    """Another transaction holds every row of the copy for some seconds."""

    name = "row locks held"
    weight = 6

    async def inject(self, system: System, rng: random.Random) -> float:
        async with locked_copy(system):
            await moment(rng, 2, 5)
        return now()


class KillBeforeWrite(Fault):
    """Killed while its write waits for a lock: the events are fetched, and nothing of them is written.

    Some of them are of tweets that nobody touches again. Who loses the event of any other may be saved by the next one.
    """

    name = "kill -9 sync before the write"
    weight = 12

    async def inject(self, system: System, rng: random.Random) -> float:
        async with locked_copy(system):
            system.stack.pause("sync")
            try:
                await self._write_tweets(system)
                await moment(rng, 0.5, 1)
            finally:
                system.stack.resume("sync")
            await _until_sync_waits(system)
            # What comes next is fetched while this is written.
            await moment(rng, 0.2, 0.5)
            killed = now()
            await system.kill("sync")
        await system.start("sync")
        return killed

    @staticmethod
    async def _write_tweets(system: System) -> None:
        with contextlib.suppress(Refused, Unknown):
            author = await system.client.register()
            for number in range(_TWEETS):
                await system.client.tweet(author, f"Never to be touched again, {number}")


class ConnectionsKilled(Fault):
    """MySQL ends every connection of the sync, some times in a row."""

    name = "connections killed"
    weight = 10

    async def inject(self, system: System, rng: random.Random) -> float:
        for _ in range(rng.randint(1, 4)):
            await asyncio.to_thread(system.databases.kill_connections_of_sync)
            await moment(rng, 0, 0.4)
        return now()


class ColumnAdded(Fault):
    """ALTER TABLE on the captured table, under load; the column goes again a moment later."""

    name = "ALTER TABLE"
    weight = 4

    async def inject(self, system: System, rng: random.Random) -> float:
        query = system.databases.query
        column = f"fault_{rng.randrange(10**6)}"
        await asyncio.to_thread(query, f"ALTER TABLE {ACCOUNTS} ADD COLUMN {column} INT NULL")
        await moment(rng, 0.5, 1.5)
        await asyncio.to_thread(query, f"ALTER TABLE {ACCOUNTS} DROP COLUMN {column}")
        return now()


class FieldsAdded(Fault):
    """Documents get fields that no route knows, of kinds that no tweet has."""

    name = "new document fields"
    weight = 4

    async def inject(self, system: System, rng: random.Random) -> float:
        tweets = system.databases.documents["tweets"]
        name = f"fault_{rng.randrange(10**6)}"
        value = {"deep": [{"er": 2**40}], "ratio": 0.1, "raw": b"\x00\xff", "huge": 2**62}

        def change() -> None:
            some = [each["_id"] for each in tweets.find({}, {"_id": True}).sort("_id", -1).limit(50)]
            tweets.update_many({"_id": {"$in": some}}, {"$set": {name: value}})

        await asyncio.to_thread(change)
        return now()
