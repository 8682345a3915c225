"""A source and its copy in both directions, on real databases and a real broker, for tests of reconciliation."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

from aiokafka import AIOKafkaProducer
from bson import Int64, ObjectId
from prometheus_client import CollectorRegistry
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from service_kit.background import Supervisor
from service_kit.kafka import KafkaClients
from support.change_events import Record, mongodb_event, mysql_event
from sync_service.apply.changes import Change
from sync_service.apply.ordering import ApplyMode, Version, offset, topic_partition
from sync_service.debezium.envelope import decode
from sync_service.metrics import SyncMetrics
from sync_service.reconciliation.compare import Comparison, ComparisonOptions
from sync_service.reconciliation.recheck import PAUSES_SECONDS
from sync_service.reconciliation.reports import RouteReport
from sync_service.reconciliation.topic_progress import TopicProgress
from sync_service.routes.config import Route
from sync_service.routes.mapping import map_fields, map_key
from sync_service.runner import SyncRunner
from sync_service.settings import Settings
from sync_service.sinks.base import Written
from sync_service.sinks.comparison_target import ComparisonTarget

PARTITIONS = 2


# For rows that do not change meanwhile: no connector is on its way with them.
SHORT_PAUSES = (0.01,) * len(PAUSES_SECONDS)


TOPIC_ID = "9" * 32


WHEN = datetime(2026, 11, 24, 3, 17, 34, 81894, tzinfo=UTC)


# Places of tweets' events are further apart than clocks of MongoDB's members.
BEGIN_MS = 1_795_490_254_132


class Direction(Protocol):
    """A source and its copy. Rows are identified by numbers."""

    route: Route

    async def put(self, number: int, content: str) -> None:
        """Insert or change a row of the source."""

    async def remove(self, number: int) -> None: ...

    async def clear(self) -> None: ...

    def event(self, number: int, content: str, *, op: str = "u", place: int = 1) -> Record:
        """The change event that Debezium writes. `place` orders the events of the source."""

    async def corrupt(self, number: int, content: str) -> None:
        """Change the copy without the sync."""

    async def copied(self) -> dict[int, str]:
        """The live rows of the copy."""

    async def stored_event(self, number: int) -> str | None:
        """The event of the row or tombstone in the copy."""


@dataclass
class Users:
    """From MySQL to MongoDB."""

    route: Route
    engine: AsyncEngine
    schema: str
    database: Any

    def row(self, number: int, content: str) -> dict[str, Any]:
        return {
            "id": f"u{number:05d}",
            "username": f"user{number}",
            "name": content,
            "role": "customer",
            "is_active": number % 2,
            "tokens_valid_after": WHEN if number % 3 == 0 else None,
            "created_at": WHEN,
            "updated_at": WHEN,
        }

    async def put(self, number: int, content: str) -> None:
        row = self.row(number, content)
        names = ", ".join(row)
        statement = f"REPLACE INTO {self.schema}.users ({names}) VALUES ({', '.join(['%s'] * len(row))})"  # noqa: S608 - names of ours
        values = [value.replace(tzinfo=None) if isinstance(value, datetime) else value for value in row.values()]
        async with self.engine.begin() as connection:
            await connection.exec_driver_sql(statement, tuple(values))

    async def remove(self, number: int) -> None:
        async with self.engine.begin() as connection:
            await connection.execute(
                text(f"DELETE FROM {self.schema}.users WHERE id = :id"),  # noqa: S608 - names of ours
                {"id": f"u{number:05d}"},
            )

    async def clear(self) -> None:
        async with self.engine.begin() as connection:
            await connection.execute(text(f"DELETE FROM {self.schema}.users"))  # noqa: S608 - names of ours

    def event(self, number: int, content: str, *, op: str = "u", place: int = 1) -> Record:
        row = self.row(number, content)
        text_row = {k: v.isoformat() if isinstance(v, datetime) else v for k, v in row.items()}
        return mysql_event(text_row, op=op, pos=place)

    async def corrupt(self, number: int, content: str) -> None:
        await self.database["users_copy"].update_one({"_id": f"u{number:05d}"}, {"$set": {"name": content}})

    async def copied(self) -> dict[int, str]:
        return {int(row["_id"][1:]): row["name"] async for row in self.database["users"].find()}

    async def stored_event(self, number: int) -> str | None:
        row = await self.database["users_copy"].find_one({"_id": f"u{number:05d}"})
        return None if row is None else f"{row['_sync']['stream']}:{row['_sync']['offset']}"


@dataclass
class Tweets:
    """From MongoDB to MySQL."""

    route: Route
    engine: AsyncEngine
    source: Any

    def document(self, number: int, content: str) -> dict[str, Any]:
        return {
            "_id": ObjectId(f"{number:024x}"),
            "author_id": "u1",
            "text": content,
            "created_at": WHEN.replace(microsecond=81000),
            "edited_at": None,
            "version": Int64(2**31 - 1 - number % 2),
            "reply_to": ObjectId(f"{number:024x}") if number % 3 == 0 else None,
            # Names in another order than MySQL's, and numbers of every kind.
            "entities": {
                "longer": [{"n": 1.0, "m": 2**53 + 1}],
                "b": content,
                "a": None,
                "ä": 1e-7,
                "big": Int64(2**63 - 1),
            },
            "lang": None,
            "not copied": content,
        }

    async def put(self, number: int, content: str) -> None:
        document = self.document(number, content)
        await self.source.replace_one({"_id": document["_id"]}, document, upsert=True)

    async def remove(self, number: int) -> None:
        await self.source.delete_one({"_id": ObjectId(f"{number:024x}")})

    async def clear(self) -> None:
        await self.source.delete_many({})

    def event(self, number: int, content: str, *, op: str = "u", place: int = 1) -> Record:
        document = self.document(number, content)
        extended = {
            **document,
            "_id": {"$oid": str(document["_id"])},
            "created_at": {"$date": int(document["created_at"].timestamp() * 1000)},
            "version": {"$numberLong": str(document["version"])},
            "reply_to": document["reply_to"] and {"$oid": str(document["reply_to"])},
            "entities": {**document["entities"], "big": {"$numberLong": str(2**63 - 1)}},
        }
        return mongodb_event(extended, op=op, ts_ms=BEGIN_MS + 100_000 * place)

    async def corrupt(self, number: int, content: str) -> None:
        async with self.engine.begin() as connection:
            await connection.execute(
                text("UPDATE tweets_copy SET text = :content WHERE id = :id"),
                {"content": content, "id": f"{number:024x}"},
            )

    async def copied(self) -> dict[int, str]:
        async with self.engine.connect() as connection:
            return {int(row.id, 16): row.text for row in await connection.execute(text("SELECT id, text FROM tweets"))}

    async def stored_event(self, number: int) -> str | None:
        async with self.engine.connect() as connection:
            wanted = {"id": f"{number:024x}"}
            found = await connection.execute(text("SELECT sync_event FROM tweets_copy WHERE id = :id"), wanted)
            event: str | None = found.scalar_one_or_none()
            return event


@dataclass
class ComparisonHarness:
    """One direction, its topic, and its comparison. `copy` counts offsets."""

    direction: Direction
    target: ComparisonTarget
    settings: Settings
    producer: AIOKafkaProducer
    offsets: int = 0
    running: "list[tuple[SyncRunner, asyncio.Task[None]]]" = field(default_factory=list)

    @property
    def route(self) -> Route:
        return self.direction.route

    async def copy(
        self, number: int, content: str, *, op: str = "u", place: int = 1, mode: ApplyMode = ApplyMode.LIVE
    ) -> Written:
        """Write an event to the copy, as the sync does."""
        self.offsets += 1
        return await self.target.sink.write([self.change(number, content, op=op, place=place)], mode)

    def change(self, number: int, content: str, *, op: str = "u", place: int = 1) -> Change:
        event = decode(*self.direction.event(number, content, op=op, place=place))
        assert event is not None
        version = Version(topic_partition(TOPIC_ID, 0), offset(self.offsets), event.position, op)
        values = None if event.after is None else map_fields(self.route, event.after)
        return Change(map_key(self.route, event.key), values, version, source_id=event.source.identify(event.key))

    async def both(self, contents: Mapping[int, str]) -> None:
        for number, content in contents.items():
            await self.direction.put(number, content)
            await self.copy(number, content)

    async def send(self, *records: Record) -> None:
        for key, value in records:
            await self.producer.send(self.route.topic, key=key, value=value, partition=0)
        await self.producer.flush()

    def start_sync(self) -> SyncRunner:
        runner = SyncRunner(
            self.settings, [self.route], SyncMetrics(registry := CollectorRegistry()), Supervisor(registry)
        )
        self.running.append((runner, asyncio.create_task(runner.run())))
        return runner

    async def compare(
        self, *, patience: float = 30, target: ComparisonTarget | None = None, **wanted: Any
    ) -> RouteReport:
        group = self.settings.sync_group_id
        async with TopicProgress(KafkaClients.of(self.settings), self.route.topic, group, patience=patience) as topic:
            options = ComparisonOptions(**{"rows_in_a_range": 7, "max_repairs": 1000, "pauses": SHORT_PAUSES, **wanted})
            return await Comparison(self.route, target or self.target, topic, options).run()


def counts(report: RouteReport) -> tuple[int, int, int, int, int]:
    return report.missing, report.extra, report.different, report.unsettled, report.mended


NUMBERED = {number: f"content {number}" for number in range(30)}
