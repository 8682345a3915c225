"""The part "reconcile": the rate at which copies of a million rows are compared with their sources, both directions.

The whole command is measured, with the start of Python. For comparison, every row of both sides is read, without
checksums. Three rows of each copy are wrong; a run that does not find exactly these has failed.
"""

import asyncio
import json
import os
import resource
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from motor.motor_asyncio import AsyncIOMotorClient, AsyncIOMotorCollection
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from benchmarks.environment import mysql_version, print_progress, running_stack, variables_of_sync
from benchmarks.machine import versions
from benchmarks.measurement import Measurement, MeasurementError, Options
from benchmarks.report import Comparison, Report
from benchmarks.rounds import Step, in_rounds
from benchmarks.rows import fill_tweets, fill_users
from embedded_stack.configuration import REPOSITORY
from service_kit.kafka import KafkaClients
from service_kit.mysql import create_engine, migrate
from sync_service.reconciliation import compare
from sync_service.reconciliation.topic_progress import TopicProgress
from sync_service.routes.config import Route
from sync_service.routes.loader import default_routes_file, load_routes
from sync_service.sinks.comparison_target import open_target
from sync_service.sinks.mongodb.databases import copy_database
from sync_service.sinks.mongodb.sink import MongoSink

PROGRAM = Path(sys.executable).with_name("sync-service")
ROWS = 1_000_000
GROUP = "sync-service"
USERS, TWEETS = "users", "tweets"
TANDEM, ROW_BY_ROW = "checksums", "row by row"
# Missing, extra and different rows of each copy.
_DIFFERENCES = (1, 1, 1)

COMPARISONS = tuple(
    Comparison(f"{route} with checksums / row by row", (route, TANDEM), (route, ROW_BY_ROW))
    for route in (USERS, TWEETS)
)


def measure(options: Options) -> Report:
    """Fill both stores, compare, delete them. Raises `MeasurementError` or `StackError`."""
    with running_stack("mysql", "mongo", "kafka") as stack:
        bench = Bench(dict(stack.addresses))
        asyncio.run(bench.fill(ROWS))
        samples = in_rounds(options, [bench.steps(USERS), bench.steps(TWEETS)])
        tools = {"mysql": mysql_version(stack)}
    return Report(
        part="reconcile",
        settings={"rows": ROWS, "rounds": options.rounds, "rows_in_a_range": compare.ROWS_IN_A_RANGE},
        versions={"tandem": versions(("pymongo", "motor", "asyncmy"), Path(sys.prefix)), "tools": tools},
        samples=samples,
        comparisons=COMPARISONS,
    )


@dataclass(frozen=True)
class Bench:
    """`addresses`: those of the stack."""

    addresses: dict[str, str]

    @property
    def routes(self) -> dict[str, Route]:
        return {route.name: route for route in load_routes(default_routes_file())}

    async def fill(self, rows: int) -> None:
        """Write `rows` users and as many tweets, and their copies with three differences each."""
        root = self.addresses["MYSQL_ROOT_URL"]
        await migrate(f"{root}auth", REPOSITORY / "services" / "auth-service" / "migrations")
        await migrate(f"{root}tweets", REPOSITORY / "services" / "sync-service" / "migrations")
        async with _Stores(root, self.addresses["MONGODB_URL"]) as (engine, mongo):
            await MongoSink(copy_database(mongo, self.routes[USERS]), self.routes[USERS]).prepare()
            print_progress(f"{rows} users and their copies …")
            await fill_users(engine, mongo, self.routes[USERS], rows)
            print_progress(f"{rows} tweets and their copies …")
            await fill_tweets(engine, mongo, self.routes[TWEETS], rows)
            await _make_differences(engine, copy_database(mongo, self.routes[USERS])["users_copy"])

    def steps(self, route: str) -> list[Step]:
        return [
            ((route, TANDEM), lambda: self._command(route)),
            ((route, ROW_BY_ROW), lambda: asyncio.run(self._row_by_row(route))),
        ]

    def _command(self, route: str) -> Measurement:
        """Run `sync-service reconcile` with the sync's database accounts."""
        variables = {**variables_of_sync(self.addresses), "SYNC_GROUP_ID": GROUP}
        begun, cpu_begun = time.perf_counter(), _children_seconds()
        done = subprocess.run(
            [PROGRAM, "reconcile", "--route", route, "--json"],
            env={**os.environ, **variables},
            capture_output=True,
            text=True,
            check=False,
        )
        seconds, cpu = time.perf_counter() - begun, _children_seconds() - cpu_begun
        if not done.stdout:
            raise MeasurementError(f"reconcile exited with {done.returncode}: {done.stderr.strip()[-300:]}")
        (report,) = json.loads(done.stdout)["routes"]
        found = tuple(report[kind] for kind in ("missing", "extra", "different"))
        return _measurement(report["rows"], found, seconds, cpu)

    async def _row_by_row(self, route: str) -> Measurement:
        """Compare in this process. Fields without a SQL expression force a comparison row by row."""
        declared = self.routes[route]
        begun, cpu_begun = time.perf_counter(), time.process_time()
        async with _Stores(f"{self.addresses['MYSQL_ROOT_URL']}tweets", self.addresses["MONGODB_URL"]) as (
            engine,
            mongo,
        ):
            target = await open_target(declared, engine, mongo)
            fields = [replace(field, expression=None) for field in target.canonical.fields]
            target = replace(target, canonical=replace(target.canonical, fields=fields))
            broker = self.addresses["KAFKA_BOOTSTRAP_SERVERS"]
            async with TopicProgress(KafkaClients(broker), declared.topic, GROUP, patience=5) as topic:
                report = await compare.Comparison(declared, target, topic, compare.ComparisonOptions()).run()
        seconds, cpu = time.perf_counter() - begun, time.process_time() - cpu_begun
        return _measurement(report.rows, (report.missing, report.extra, report.different), seconds, cpu)


class _Stores:
    """Connections to both stores, closed at the end."""

    def __init__(self, mysql_url: str, mongodb_url: str) -> None:
        self._engine = create_engine(mysql_url)
        self._mongo: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(mongodb_url, tz_aware=True)

    async def __aenter__(self) -> "tuple[AsyncEngine, AsyncIOMotorClient[dict[str, Any]]]":
        return self._engine, self._mongo

    async def __aexit__(self, *_error: object) -> None:
        self._mongo.close()
        await self._engine.dispose()


async def _make_differences(engine: AsyncEngine, copy: "AsyncIOMotorCollection[dict[str, Any]]") -> None:
    """In each copy, delete a row, add a row and change a row. `copy` is that of the users."""
    ids = [user["_id"] async for user in copy.find({}, {"_id": True}).sort("_id").limit(2)]
    await copy.delete_one({"_id": ids[0]})
    await copy.update_one({"_id": ids[1]}, {"$set": {"name": "Changed"}})
    await copy.insert_one({"_id": "extra"})
    statements = (
        "INSERT INTO tweets.tweets_copy (id, sync_event, sync_epoch, sync_operation) VALUES (:id, '', '', 'c')",
        "DELETE FROM tweets.tweets_copy WHERE id = :id",
        "UPDATE tweets.tweets_copy SET lang = 'xx' WHERE id = :id",
    )
    async with engine.begin() as connection:
        for statement, number in zip(statements, (ROWS, 0, 1), strict=True):
            await connection.execute(text(statement), {"id": f"{number:024x}"})


def _measurement(rows: int, found: tuple[int, ...], seconds: float, cpu: float) -> Measurement:
    expected = f"{_DIFFERENCES} missing, extra and different rows"
    complaint = "" if found == _DIFFERENCES else f"found {found} instead of {expected}"
    return Measurement(rows / seconds, 0.0, 0.0, 1000 * cpu / rows, errors=int(bool(complaint)), complaint=complaint)


def _children_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
