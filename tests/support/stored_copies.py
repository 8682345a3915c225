"""A sink of either store, and the rows that it has written."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Protocol

from sqlalchemy import RowMapping, text
from sqlalchemy.ext.asyncio import AsyncEngine

from sync_service.apply.changes import Change
from sync_service.apply.ordering import Version
from sync_service.sinks.base import Sink
from sync_service.sinks.mongodb.sink import MongoSink
from sync_service.sinks.mysql.sink import MysqlSink

if TYPE_CHECKING:
    from motor.motor_asyncio import AsyncIOMotorDatabase

    Database = AsyncIOMotorDatabase[dict[str, Any]]

# The stored state of a key: its version and its text (None: a tombstone).
State = tuple[Version, str | None]


async def empty_copy(engine: AsyncEngine) -> None:
    """Empty the copy in MySQL, which all tests share, and forget the sessions that earlier tests had."""
    async with engine.begin() as connection:
        await connection.execute(text("DELETE FROM tweets_copy"))
        await connection.execute(text("DELETE FROM sync_source_states WHERE kind = 'sessions'"))


@asynccontextmanager
async def refusing_trigger(engine: AsyncEngine) -> AsyncIterator[None]:
    """MySQL refuses a tweet with the text `refused`, with an error that is in no list of codes."""
    refuse = "SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO = 60000, MESSAGE_TEXT = 'an operator refuses it'"
    statement = (
        f"CREATE TRIGGER refuse BEFORE INSERT ON tweets_copy FOR EACH ROW "
        f"BEGIN IF NEW.text = 'refused' THEN {refuse}; END IF; END"
    )
    async with engine.begin() as connection:
        await connection.exec_driver_sql(statement)
    try:
        yield
    finally:
        async with engine.begin() as connection:
            await connection.exec_driver_sql("DROP TRIGGER refuse")


class StoredCopy(Protocol):
    sink: Sink

    def change(self, key: str, version: Version, content: str) -> Change: ...
    async def stored(self) -> Mapping[str, State]: ...
    async def readable(self) -> Mapping[str, str]:
        """What readers see of the live rows."""

    async def kept(self) -> Mapping[str, str | None]:
        """What readers see of the deleted rows, with `deletes: keep-row`."""

    async def store_version(self, key: str, event: str, generation: str, position: str | None) -> None:
        """Store a row's version as texts, as another release may have done."""

    async def stored_position(self, key: str) -> tuple[str, str | None]:
        """Generation and position, as they are stored."""


class StoredMysqlCopy:
    def __init__(self, sink: MysqlSink, engine: AsyncEngine, table: str = "tweets") -> None:
        self.sink: Sink = sink
        self._engine = engine
        self._table = table

    def change(self, key: str, version: Version, content: str) -> Change:
        fields = ("author_id", "text", "created_at", "edited_at", "version", "reply_to", "repost_of", "quote_of")
        values = dict.fromkeys((*fields, "entities", "lang", "source")) | {"text": content}
        return Change((key,), None if version.operation == "d" else values, version)

    async def stored(self) -> Mapping[str, State]:
        async with self._engine.connect() as connection:
            rows = (await connection.execute(text(f"SELECT * FROM {self._table}_copy"))).mappings().all()  # noqa: S608 - a name of this file
        return {
            row["id"]: (
                Version.stored(row["sync_event"], row["sync_epoch"], row["sync_position"], row["sync_operation"]),
                None if row["sync_deleted_at"] else row["text"],
            )
            for row in rows
        }

    async def readable(self) -> Mapping[str, str]:
        return {row["id"]: row["text"] for row in await self._shown() if row.get("deleted_at") is None}

    async def kept(self) -> Mapping[str, str | None]:
        return {row["id"]: row["text"] for row in await self._shown() if row["deleted_at"] is not None}

    async def _shown(self) -> Sequence[RowMapping]:
        async with self._engine.connect() as connection:
            return (await connection.execute(text(f"SELECT * FROM {self._table}"))).mappings().all()  # noqa: S608 - a name of this file

    async def store_version(self, key: str, event: str, generation: str, position: str | None) -> None:
        statement = text(
            f"UPDATE {self._table}_copy "  # noqa: S608 - a name of this file
            "SET sync_event = :event, sync_epoch = :generation, sync_position = :position WHERE id = :key"
        )
        async with self._engine.begin() as connection:
            values = {"key": key, "event": event, "generation": generation, "position": position}
            await connection.execute(statement, values)

    async def stored_position(self, key: str) -> tuple[str, str | None]:
        statement = text(f"SELECT sync_epoch, sync_position FROM {self._table}_copy WHERE id = :key")  # noqa: S608 - a name of this file
        async with self._engine.connect() as connection:
            row = (await connection.execute(statement, {"key": key})).one()
        return row.sync_epoch, row.sync_position


class StoredMongoCopy:
    def __init__(self, sink: MongoSink, database: "Database") -> None:
        self.sink: Sink = sink
        self._database = database

    def change(self, key: str, version: Version, content: str) -> Change:
        return Change((key,), None if version.operation == "d" else {"name": content}, version)

    async def stored(self) -> Mapping[str, State]:
        found: dict[str, State] = {}
        async for document in self._database["users_copy"].find():
            sync = document["_sync"]
            event = f"{sync['stream']}:{sync['offset']}"
            version = Version.stored(event, sync["epoch"], sync["position"], sync["operation"])
            found[document["_id"]] = (version, None if sync["deleted_at"] else document["name"])
        return found

    async def readable(self) -> Mapping[str, str]:
        live = self._database["users"].find({"deleted_at": None})
        return {document["_id"]: document["name"] async for document in live}

    async def kept(self) -> Mapping[str, str | None]:
        deleted = self._database["users"].find({"deleted_at": {"$ne": None}})
        return {document["_id"]: document.get("name") async for document in deleted}

    async def store_version(self, key: str, event: str, generation: str, position: str | None) -> None:
        stream, _, offset = event.rpartition(":")
        stored = {"stream": stream, "offset": offset, "epoch": generation, "position": position}
        changed = {f"_sync.{name}": value for name, value in stored.items()}
        await self._database["users_copy"].update_one({"_id": key}, {"$set": changed})

    async def stored_position(self, key: str) -> tuple[str, str | None]:
        document = await self._database["users_copy"].find_one({"_id": key})
        assert document is not None
        return document["_sync"]["epoch"], document["_sync"]["position"]
