"""What happens to whole collections of MongoDB: the events of a change stream that are of no document.

Events: MongoDB docs, "Change Events". Debezium's connector leaves them out.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bson import json_util
from pymongo.errors import OperationFailure, PyMongoError

from sync_service.kafka.gaps import Cause
from sync_service.sinks.base import Unavailable
from sync_service.sinks.mongodb.errors import without_values

if TYPE_CHECKING:
    # motor's classes are generic for the type checker only.
    from motor.motor_asyncio import AsyncIOMotorClient

    MongoClient = AsyncIOMotorClient[dict[str, Any]]

_EVENTS = [{"$match": {"operationType": {"$in": ["drop", "rename", "invalidate"]}}}]
_WAIT_MS = 100
# Codes: the log was truncated after the position; it is from another log; the position is no token of this server.
_POSITION_LOST = {136, 260, 280, 286}
_UNAUTHORIZED = 13


@dataclass(frozen=True, slots=True)
class CollectionChange:
    collection: str
    cause: Cause
    reason: str


@dataclass(frozen=True, slots=True)
class DatabaseChanges:
    """`lost`: the server no longer has all events since the former position.

    `state` is the position, for a stream that continues after these changes.
    """

    changes: Sequence[CollectionChange]
    state: str
    lost: bool = False


class DatabaseStream:
    """The changes of named collections of a database since a state; None: since the first `read`.

    One change stream of the whole database, which stays open: a `read` is one command, unless there are events. All
    methods raise `Unavailable`, also if the account may not watch the database.
    """

    def __init__(self, mongo: "MongoClient", database: str, names: Collection[str], state: str | None) -> None:
        self._database = mongo[database]
        self._names = names
        self._position = None if state is None else json_util.loads(state)
        # Not `AsyncIOMotorChangeStream`, which has `alive` as a method for the type checker.
        self._stream: Any = None

    async def read(self) -> DatabaseChanges:
        """The changes since the last `read`. After an error the next stream begins at a state that was stored."""
        try:
            try:
                return await self._read()
            except OperationFailure as error:
                if self._position is None or error.code not in _POSITION_LOST:
                    raise
            await self.close()
            self._position = None
            seen = await self._read()
            return DatabaseChanges(seen.changes, seen.state, lost=True)
        except PyMongoError as error:
            raise Unavailable(f"MongoDB: {self._reason(error)}") from error

    async def close(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            await stream.close()

    async def _read(self) -> DatabaseChanges:
        changes: list[CollectionChange] = []
        while True:
            if self._stream is None:
                self._stream = self._database.watch(_EVENTS, start_after=self._position, max_await_time_ms=_WAIT_MS)
            while self._stream.alive and (event := await self._stream.try_next()) is not None:
                changes += changes_of(event, self._database.name, self._names)
            self._position = self._stream.resume_token
            if self._stream.alive:
                return DatabaseChanges(changes, json_util.dumps(self._position))
            # The database was dropped, which ends its stream. The next one begins after that.
            await self.close()

    def _reason(self, error: PyMongoError) -> str:
        if isinstance(error, OperationFailure) and error.code == _UNAUTHORIZED:
            return (
                f"this account may not watch the database {self._database.name}: grant it the role read on it, or a "
                "role with find and changeStream"
            )
        return without_values(str(error))


def changes_of(event: dict[str, Any], database: str, names: Collection[str]) -> Iterator[CollectionChange]:
    """`names` are those of the watched collections."""
    name = event.get("ns", {}).get("coll")
    match event["operationType"]:
        case "drop" if name in names:
            yield CollectionChange(name, "dropped", "drop: the copy keeps the documents of the dropped collection")
        case "rename":
            to = event["to"]
            if name in names:
                reason = f"renameCollection: it is {to['db']}.{to['coll']} now, and the copy keeps its documents"
                yield CollectionChange(name, "renamed", reason)
            if to["db"] == database and to["coll"] in names:
                yield CollectionChange(to["coll"], *_replacement(name))


def _replacement(former_name: str) -> tuple[Cause, str]:
    """Commands that fill a new collection give it the name of the old one at their end."""
    if former_name.startswith("tmp.agg_out."):
        return "replaced", "$out: it replaced all documents without events"
    if former_name.startswith("tmp") and ".convertToCapped." in former_name:
        return "replaced", "convertToCapped: it may have removed documents without events"
    return "renamed", f"renameCollection: it was {former_name}, whose documents had no events"
