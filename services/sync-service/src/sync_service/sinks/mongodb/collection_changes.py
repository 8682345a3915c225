"""What happens to whole collections of MongoDB: the events of a change stream that are of no document.

Events: MongoDB docs, "Change Events". Debezium's connector leaves them out.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from bson import json_util
from pymongo.errors import OperationFailure, PyMongoError

from sync_service.kafka.gaps import Cause
from sync_service.probe import without_server_states
from sync_service.sinks.base import Unavailable

if TYPE_CHECKING:
    # motor's classes are generic for the type checker only.
    from motor.motor_asyncio import AsyncIOMotorClient, AsyncIOMotorCollection

    MongoClient = AsyncIOMotorClient[dict[str, Any]]
    Collection = AsyncIOMotorCollection[dict[str, Any]]

_EVENTS = [{"$match": {"operationType": {"$in": ["drop", "rename", "invalidate"]}}}]
_WAIT_MS = 100
# Codes: the log was truncated after the position; it is from another log; the position is no token of this server.
_POSITION_LOST = {136, 260, 280, 286}


@dataclass(frozen=True, slots=True)
class CollectionChanges:
    """The causes and reasons. `lost`: the server no longer has all events since the former position.

    `state` is the position, for the next `changes_since`.
    """

    changes: Sequence[tuple[Cause, str]]
    state: str
    lost: bool = False


async def changes_since(mongo: "MongoClient", database: str, name: str, state: str | None) -> CollectionChanges:
    """The changes of a collection since a state; None: from now on.

    A collection that does not exist can be watched, too. Raises `Unavailable`, also if the account may not watch it.
    """
    try:
        try:
            return await _read(mongo[database][name], None if state is None else json_util.loads(state))
        except OperationFailure as error:
            if state is None or error.code not in _POSITION_LOST:
                raise
        return replace(await _read(mongo[database][name], None), lost=True)
    except PyMongoError as error:
        raise Unavailable(f"MongoDB: {without_server_states(error)[:300]}") from error


async def _read(collection: "Collection", position: Any) -> CollectionChanges:
    changes: list[tuple[Cause, str]] = []
    while True:
        async with collection.watch(_EVENTS, start_after=position, max_await_time_ms=_WAIT_MS) as stream:
            while stream.alive and (event := await stream.try_next()) is not None:
                if (change := change_of(event, collection.name)) is not None:
                    changes.append(change)
            position = stream.resume_token
            if stream.alive:
                return CollectionChanges(changes, json_util.dumps(position))
        # The collection was dropped or renamed, which ends its stream. The next one begins after that.


def change_of(event: dict[str, Any], name: str) -> tuple[Cause, str] | None:
    """`name` is that of the watched collection."""
    match event["operationType"]:
        case "drop":
            return "dropped", "drop: the copy keeps the documents of the dropped collection"
        case "rename" if event["ns"]["coll"] == name:
            to = f"{event['to']['db']}.{event['to']['coll']}"
            return "renamed", f"renameCollection: it is {to} now, and the copy keeps its documents"
        case "rename":
            return _replacement(event["ns"]["coll"])
    return None


def _replacement(former_name: str) -> tuple[Cause, str]:
    """Commands that fill a new collection give it the name of the old one at their end."""
    if former_name.startswith("tmp.agg_out."):
        return "replaced", "$out: it replaced all documents without events"
    if former_name.startswith("tmp") and ".convertToCapped." in former_name:
        return "replaced", "convertToCapped: it may have removed documents without events"
    return "renamed", f"renameCollection: it was {former_name}, whose documents had no events"
