"""The part "latency": how long after its commit in one store a row is there in the other one, on the whole stack.

Rows are written at a steady rate, whether or not the earlier ones have arrived (an open loop), straight into the source
by its driver; the copy is asked for what has not arrived yet every few milliseconds. One direction at a time.
"""

import asyncio
import json
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any
from uuid import uuid4

from bson import ObjectId
from motor.motor_asyncio import AsyncIOMotorClient
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from benchmarks import change_events
from benchmarks.environment import running_stack, say
from benchmarks.machine import versions
from benchmarks.measurement import Measurement, MeasurementError, Options
from benchmarks.report import Report
from benchmarks.rounds import Step, in_rounds
from embedded_stack import Stack
from embedded_stack.configuration import REPOSITORY
from service_kit.mysql import create_engine
from tweet_service.tweets.service import new_tweet

WRITES_PER_SECOND = 200
USERS, TWEETS = "users to MongoDB", "tweets to MySQL"
TANDEM = "tandem"
_LOOK_SECONDS = 0.002
_WARM_UP_SECONDS = 3.0
_CONNECTIONS = 50
_PATIENCE_SECONDS = 30.0


def measure(options: Options) -> Report:
    """Each direction for `options.seconds`. Raises `MeasurementError` or `StackError`."""
    with running_stack() as stack:
        say("warming up …")
        for case in (USERS, TWEETS):
            _measured(stack, case, _WARM_UP_SECONDS)
        steps: list[list[Step]] = [
            [((case, TANDEM), partial(_measured, stack, case, options.seconds))] for case in (USERS, TWEETS)
        ]
        return Report(
            part="latency",
            settings={"seconds": options.seconds, "writes_per_second": WRITES_PER_SECOND, **_tuning()},
            versions={"tandem": versions(("aiokafka", "asyncmy", "motor", "pymongo", "msgspec"), Path(sys.prefix))},
            samples=in_rounds(options, steps),
            comparisons=(),
        )


def _tuning() -> dict[str, int]:
    """What of the connectors' configuration decides."""
    found = {}
    for connector in ("mysql", "mongo"):
        (file,) = (REPOSITORY / "infra" / "connect" / "connectors").glob(f"*{connector}*.json")
        configuration = json.loads(file.read_text())
        for name in ("poll.interval.ms", "cursor.max.await.time.ms", "max.batch.size"):
            if name in configuration:
                found[f"{connector}_{name.replace('.', '_')}"] = int(configuration[name])
    return found


@dataclass
class _Waiting:
    """Rows that are committed and not seen in the copy yet, with the moments of their commits."""

    since: dict[Any, float] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)

    def see(self, keys: Sequence[Any]) -> None:
        now = time.perf_counter()
        self.seconds += [now - self.since.pop(key) for key in keys if key in self.since]


def _measured(stack: Stack, case: str, seconds: float) -> Measurement:
    seen = sorted(asyncio.run(_written_and_awaited(stack, case, seconds)))
    return Measurement(
        per_second=len(seen) / seconds,
        p50_ms=1000 * statistics.median(seen),
        p99_ms=1000 * seen[int(0.99 * (len(seen) - 1))],
    )


async def _written_and_awaited(stack: Stack, case: str, seconds: float) -> list[float]:
    async with AsyncExitStack() as cleanup:
        engine = create_engine(
            stack.addresses["MYSQL_ROOT_URL"].rstrip("/") + "/auth", pool_size=_CONNECTIONS, autocommit=True
        )
        cleanup.push_async_callback(engine.dispose)
        client: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(stack.addresses["MONGODB_URL"], w="majority")
        cleanup.enter_context(closing(client))
        mongo = client.get_default_database()
        if case == USERS:
            return await _through(lambda: _new_user(engine), lambda keys: _copied_users(mongo, keys), seconds)
        return await _through(lambda: _new_tweet(mongo), lambda keys: _copied_tweets(engine, keys), seconds)


async def _through(
    write: Callable[[], Awaitable[Any]], copied: Callable[[list[Any]], Awaitable[list[Any]]], seconds: float
) -> list[float]:
    """Seconds from commit to sight, of each row."""
    waiting = _Waiting()

    async def write_one() -> None:
        key = await write()
        waiting.since[key] = time.perf_counter()

    async def write_all() -> None:
        began = time.perf_counter()
        async with asyncio.TaskGroup() as writes:
            for number in range(int(seconds * WRITES_PER_SECOND)):
                await asyncio.sleep(max(0.0, began + number / WRITES_PER_SECOND - time.perf_counter()))
                writes.create_task(write_one())

    writing = asyncio.create_task(write_all())
    deadline = time.perf_counter() + seconds + _PATIENCE_SECONDS
    while not writing.done() or waiting.since:
        if waiting.since:
            waiting.see(await copied(list(waiting.since)))
        if time.perf_counter() > deadline:
            raise MeasurementError(f"{len(waiting.since)} rows have not arrived after {_PATIENCE_SECONDS:.0f} s")
        await asyncio.sleep(_LOOK_SECONDS)
    await writing
    return waiting.seconds


_numbers = count()


async def _new_user(engine: AsyncEngine) -> str:
    user_id, number = str(uuid4()), next(_numbers)
    row = {**change_events.user(number), "id": user_id, "username": f"late_{user_id[:18]}", "email": f"{user_id}@x.org"}
    now = datetime.now(UTC).replace(tzinfo=None)
    row |= {"created_at": now, "updated_at": now}
    columns = ", ".join(row)
    insert = f"INSERT INTO users ({columns}) VALUES ({', '.join(f':{name}' for name in row)})"  # noqa: S608 - our own
    async with engine.connect() as connection:
        await connection.execute(text(insert), row)
    return user_id


async def _new_tweet(mongo: Any) -> str:
    tweet = dict(new_tweet(str(uuid4()), f"number {next(_numbers)} #late"))
    await mongo["tweets"].insert_one(tweet)
    return str(tweet["_id"])


async def _copied_users(mongo: Any, keys: list[Any]) -> list[Any]:
    found = mongo["users_copy"].find({"_id": {"$in": keys}}, {"_id": True})
    return [each["_id"] for each in await found.to_list(None)]


async def _copied_tweets(engine: AsyncEngine, keys: list[Any]) -> list[Any]:
    wanted = ", ".join(f"'{ObjectId(key)}'" for key in keys)
    async with engine.connect() as connection:
        found = await connection.exec_driver_sql(f"SELECT id FROM tweets.tweets_copy WHERE id IN ({wanted})")  # noqa: S608 - ids
        return list(found.scalars())
