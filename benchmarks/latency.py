"""The part "latency": the time from a commit in one store until the row is visible in the other, on the whole stack.

The source's driver writes rows at a constant rate, whether or not earlier ones have arrived (open loop). A query of the
copy looks for the missing rows every few milliseconds. Each direction is measured separately.
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
from benchmarks.environment import print_progress, running_stack
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
_POLL_SECONDS = 0.002
_WARM_UP_SECONDS = 3.0
_CONNECTIONS = 50
_TIMEOUT_SECONDS = 30.0


def measure(options: Options) -> Report:
    """Measure each direction for `options.seconds`. Raises `MeasurementError` or `StackError`."""
    with running_stack() as stack:
        print_progress("warming up …")
        for case in (USERS, TWEETS):
            _measure_case(stack, case, _WARM_UP_SECONDS)
        steps: list[list[Step]] = [
            [((case, TANDEM), partial(_measure_case, stack, case, options.seconds))] for case in (USERS, TWEETS)
        ]
        return Report(
            part="latency",
            settings={"seconds": options.seconds, "writes_per_second": WRITES_PER_SECOND, **_tuning()},
            versions={"tandem": versions(("aiokafka", "asyncmy", "motor", "pymongo", "msgspec"), Path(sys.prefix))},
            samples=in_rounds(options, steps),
            comparisons=(),
        )


def _tuning() -> dict[str, int]:
    """Return the connector settings that affect latency."""
    found = {}
    for connector in ("mysql", "mongo"):
        (file,) = (REPOSITORY / "infra" / "connect" / "connectors").glob(f"*{connector}*.json")
        configuration = json.loads(file.read_text())
        for name in ("poll.interval.ms", "cursor.max.await.time.ms", "max.batch.size"):
            if name in configuration:
                found[f"{connector}_{name.replace('.', '_')}"] = int(configuration[name])
    return found


@dataclass
class _Pending:
    """Committed rows that are not in the copy yet, with the times of their commits, and the latencies of the others."""

    committed_at: dict[Any, float] = field(default_factory=dict)
    latencies: list[float] = field(default_factory=list)

    def arrived(self, keys: Sequence[Any]) -> None:
        now = time.perf_counter()
        self.latencies += [now - self.committed_at.pop(key) for key in keys if key in self.committed_at]


def _measure_case(stack: Stack, case: str, seconds: float) -> Measurement:
    latencies = sorted(asyncio.run(_latencies(stack, case, seconds)))
    return Measurement(
        per_second=len(latencies) / seconds,
        p50_ms=1000 * statistics.median(latencies),
        p99_ms=1000 * latencies[int(0.99 * (len(latencies) - 1))],
    )


async def _latencies(stack: Stack, case: str, seconds: float) -> list[float]:
    async with AsyncExitStack() as cleanup:
        engine = create_engine(
            stack.addresses["MYSQL_ROOT_URL"].rstrip("/") + "/auth", pool_size=_CONNECTIONS, autocommit=True
        )
        cleanup.push_async_callback(engine.dispose)
        client: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(stack.addresses["MONGODB_URL"], w="majority")
        cleanup.enter_context(closing(client))
        mongo = client.get_default_database()
        if case == USERS:
            auth = client["auth"]
            return await _write_and_wait(lambda: _new_user(engine), lambda keys: _copied_users(auth, keys), seconds)
        return await _write_and_wait(lambda: _new_tweet(mongo), lambda keys: _copied_tweets(engine, keys), seconds)


async def _write_and_wait(
    write: Callable[[], Awaitable[Any]], copied: Callable[[list[Any]], Awaitable[list[Any]]], seconds: float
) -> list[float]:
    """Return the seconds from commit to visibility of each row."""
    pending = _Pending()

    async def write_one() -> None:
        key = await write()
        pending.committed_at[key] = time.perf_counter()

    async def write_all() -> None:
        began = time.perf_counter()
        async with asyncio.TaskGroup() as writes:
            for number in range(int(seconds * WRITES_PER_SECOND)):
                await asyncio.sleep(max(0.0, began + number / WRITES_PER_SECOND - time.perf_counter()))
                writes.create_task(write_one())

    writing = asyncio.create_task(write_all())
    deadline = time.perf_counter() + seconds + _TIMEOUT_SECONDS
    while not writing.done() or pending.committed_at:
        if pending.committed_at:
            pending.arrived(await copied(list(pending.committed_at)))
        if time.perf_counter() > deadline:
            raise MeasurementError(f"{len(pending.committed_at)} rows did not arrive within {_TIMEOUT_SECONDS:.0f} s")
        await asyncio.sleep(_POLL_SECONDS)
    await writing
    return pending.latencies


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
