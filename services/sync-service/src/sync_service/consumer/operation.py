"""The sync as a whole: prepares the copies, consumes, and ends the process if it can't go on."""

import asyncio
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import structlog
from aiokafka.errors import KafkaError
from motor.motor_asyncio import AsyncIOMotorClient
from sqlalchemy.exc import InterfaceError, OperationalError

from service_kit.mysql import create_engine, migrate
from sync_service.consumer.application import RouteApplication
from sync_service.consumer.dead_letters import DeadLetters, TooManyDeadLetters
from sync_service.consumer.group import GroupMember
from sync_service.consumer.persistence import Closing, Persistence
from sync_service.routes.models import Route
from sync_service.settings import Settings
from sync_service.sinks.mongo import MongoSink
from sync_service.sinks.mysql import MysqlSink
from sync_service.sinks.sink import Sink, Unavailable
from sync_service.status.metrics import SyncMetrics
from sync_service.status.statistics import RouteStatistics

log = structlog.get_logger(__name__)

# A write for each of the two sides' partitions.
MYSQL_CONNECTIONS = 12
MONGODB_TIMEOUT_MS = 5000
WATCH_SECONDS = 2.0
PURGE_SECONDS = 3600.0
EXIT_SOFTWARE = 70  # sysexits.h


class SyncOperation:
    """Runs until `stop`. `problem` is None while everything goes its way."""

    def __init__(self, settings: Settings, routes: Sequence[Route], metrics: SyncMetrics) -> None:
        self._settings = settings
        self._metrics = metrics
        self._engine = create_engine(settings.mysql_url.get_secret_value(), pool_size=MYSQL_CONNECTIONS)
        self._mongo: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(
            settings.mongodb_url.get_secret_value(),
            appname="sync-service",
            tz_aware=True,
            w="majority",
            serverSelectionTimeoutMS=2000,
            connectTimeoutMS=2000,
            timeoutMS=MONGODB_TIMEOUT_MS,
        )
        self._dead_letters = DeadLetters(settings.kafka_bootstrap_servers)
        self.applications: Mapping[str, RouteApplication] = {route.topic: self._application(route) for route in routes}
        self.member = GroupMember(settings, self.applications)
        self._preparing = Persistence((Unavailable, OperationalError, InterfaceError), self._note_not_prepared)
        self._not_prepared: str | None = "not prepared yet"
        self._halted: str | None = None

    def _application(self, route: Route) -> RouteApplication:
        return RouteApplication(
            route,
            self._sink(route),
            self._dead_letters,
            RouteStatistics(route.name, self._metrics),
            rows_at_once=self._settings.sync_rows_at_once,
            dead_letter_limit=self._settings.sync_dead_letter_limit,
        )

    def _sink(self, route: Route) -> Sink:
        if route.target.store == "mysql":
            return MysqlSink(self._engine, route)
        return MongoSink(self._mongo.get_default_database(), route)

    @property
    def problem(self) -> str | None:
        """Why nothing, or not everything, is applied at the moment."""
        blocked = [
            f"{application.route.name}: {application.statistics.blocked_by}"
            for application in self.applications.values()
            if application.statistics.blocked_by
        ]
        return self._halted or self._not_prepared or self.member.problem or "; ".join(blocked) or None

    async def run(self) -> None:
        """Returns after `stop`. Whatever else ends it ends the process: nobody must take a dead sync for a live one."""
        async with AsyncExitStack() as cleanup:
            cleanup.callback(self._mongo.close)
            cleanup.push_async_callback(self._engine.dispose)
            cleanup.push_async_callback(self._dead_letters.close)
            try:
                await self._preparing.insist(self._prepare)
                self._not_prepared = None
                async with asyncio.TaskGroup() as tasks:
                    background = [tasks.create_task(self._watch()), tasks.create_task(self._purge())]
                    await self._consume()
                    for task in background:
                        task.cancel()
            except Closing:
                pass
            except Exception as error:  # noqa: BLE001 - whatever it is, it ends the process
                end_process(f"the sync can't go on: {error!r}", error)

    def stop(self) -> None:
        self._preparing.close()
        self.member.stop()

    async def _consume(self) -> None:
        try:
            await self.member.run()
        except TooManyDeadLetters as error:
            # To be started again by a supervisor, each time for as many more, would divert everything after all.
            self._halted = f"halted: {error}"
            log.critical("halted, nothing is consumed until somebody restarts the service", reason=str(error))

    async def _prepare(self) -> None:
        await migrate(self._settings.mysql_url.get_secret_value(), migrations_folder())
        for application in self.applications.values():
            await application.sink.prepare()

    def _note_not_prepared(self, error: Exception) -> None:
        self._not_prepared = f"not prepared yet: {type(error).__name__}"
        log.warning("the copies can't be prepared yet", reason=str(error))

    async def _watch(self) -> None:
        """The watchdog: lag, and no progress, although nobody we depend on is known to be down."""
        finished, progressed_at = -1, time.monotonic()
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            now_finished = sum(each.statistics.finished for each in self.applications.values())
            lag = await self._lag()
            if now_finished != finished or lag == 0 or self.problem is not None:
                finished, progressed_at = now_finished, time.monotonic()
            elif time.monotonic() - progressed_at > self._settings.sync_watchdog_seconds:
                end_process(f"{lag} events wait, and none was applied for {self._settings.sync_watchdog_seconds:g} s")

    async def _lag(self) -> int:
        try:
            lags = await self.member.lag()
        except KafkaError:
            return 0
        for topic, lag in lags.items():
            self._metrics.lag.labels(self.applications[topic].route.name).set(lag)
        return sum(lags.values())

    async def _purge(self) -> None:
        while True:
            for application in self.applications.values():
                try:
                    await application.sink.purge()
                except Unavailable as error:
                    log.warning("tombstones not purged", route=application.route.name, reason=str(error))
            await asyncio.sleep(PURGE_SECONDS)


def migrations_folder() -> Path:
    """In an installed package inside it, in a checkout beside `src`."""
    package = Path(__file__).parents[1]
    inside = package / "migrations"
    return inside if inside.exists() else package.parents[1] / "migrations"


def end_process(reason: str, error: Exception | None = None) -> None:
    """At once and without goodbyes, which may be what hangs. Nothing is lost: what isn't committed comes again."""
    log.critical("ending the process", reason=reason, exc_info=error, notable=True)
    os._exit(EXIT_SOFTWARE)
