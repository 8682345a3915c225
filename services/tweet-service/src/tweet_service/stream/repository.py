"""Change streams on the collection `tweets`."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from bson import Timestamp
from pymongo import AsyncMongoClient
from pymongo.asynchronous.change_stream import AsyncChangeStream
from pymongo.errors import OperationFailure

from tweet_service.database import SERVER_SELECTION_MS
from tweet_service.stream.events import is_bare_time, time_of
from tweet_service.stream.problems import InvalidPosition, PositionLost, StreamInvalidated
from tweet_service.tweets.repository import COLLECTION

Change = dict[str, Any]
Client = AsyncMongoClient[dict[str, Any]]

# The server responds to a change stream within a second.
_SOCKET_TIMEOUT_MS = 10_000
_CONNECTIONS = 20
# Codes: the log was truncated after the position; it is from another log; the collection was dropped there.
_LOST = {286, 280, 260}
# Codes of an invalid token: not hexadecimal, or too short.
_INVALID = {2, 9, 15}
# The names of other parser errors start with this.
_PARSER_ERROR = "Location"
_PIPELINE: list[Mapping[str, Any]] = [
    # Only changes of version or text are edits; other programs may write fields of their own.
    {
        "$match": {
            "$or": [
                {"operationType": {"$in": ["insert", "replace", "delete"]}},
                {"updateDescription.updatedFields.version": {"$exists": True}},
                {"updateDescription.updatedFields.text": {"$exists": True}},
            ]
        }
    },
    # Fields that clients never see. The edit history can be long.
    {"$unset": ["fullDocument.edits", "fullDocument.ancestors", "updateDescription"]},
]


def connect(url: str) -> Client:
    """A separate client for change streams: waiting for a change takes no thread and no connection of requests."""
    return AsyncMongoClient(
        url,
        appname="tweet-service stream",
        tz_aware=True,
        serverSelectionTimeoutMS=SERVER_SELECTION_MS,
        connectTimeoutMS=SERVER_SELECTION_MS,
        socketTimeoutMS=_SOCKET_TIMEOUT_MS,
        # The default is to wait for a free connection without a limit, which would block all subscribers.
        waitQueueTimeoutMS=_SOCKET_TIMEOUT_MS,
        maxPoolSize=_CONNECTIONS,
    )


@dataclass(frozen=True)
class Batch:
    """Changes in order, possibly none, and the position that they reach."""

    changes: list[Change]
    position: str


class TweetChanges:
    def __init__(self, client: Client) -> None:
        self._database = client.get_default_database()

    async def now(self) -> Timestamp:
        """The cluster time of the last operation before the call."""
        done: Timestamp = (await self._database.command("ping"))["operationTime"]
        return done

    async def after(self, position: str, *, batch_size: int, wait_ms: int) -> AsyncGenerator[Batch, None]:
        """All changes after a position, without end; an empty batch if there was no change for `wait_ms`.

        The full document is the tweet at the time when the change is read. Raises `PositionLost`, `InvalidPosition`,
        `StreamInvalidated` and errors of the driver.
        """
        try:
            async with (
                await self._open(position, batch_size, wait_ms) as stream,
                aclosing(_batches(stream, batch_size)) as batches,
            ):
                async for batch in batches:
                    yield batch
        except OperationFailure as error:
            if error.code in _LOST:
                raise PositionLost from error
            if error.code in _INVALID or str((error.details or {}).get("codeName")).startswith(_PARSER_ERROR):
                raise InvalidPosition from error
            raise
        raise StreamInvalidated

    async def _open(self, position: str, batch_size: int, wait_ms: int) -> AsyncChangeStream[Change]:
        begin: dict[str, Any] = (
            {"start_at_operation_time": time_of(position)}
            if is_bare_time(position)
            else {"resume_after": {"_data": position}}
        )
        return await self._database[COLLECTION].watch(
            _PIPELINE, full_document="updateLookup", batch_size=batch_size, max_await_time_ms=wait_ms, **begin
        )


async def _batches(stream: AsyncChangeStream[Change], batch_size: int) -> AsyncGenerator[Batch, None]:
    """Groups changes that have arrived. The next change is requested while a batch is being processed."""
    changes: list[Change] = []
    upcoming: asyncio.Task[Change | None] | None = None
    try:
        while stream.alive:
            upcoming = asyncio.create_task(stream.try_next())
            # A change that has arrived already is available after one turn of the loop.
            await asyncio.sleep(0)
            if changes and (len(changes) >= batch_size or not upcoming.done()):
                yield Batch(changes, changes[-1]["_id"]["_data"])
                changes = []
            change = await upcoming
            if change is not None:
                changes.append(change)
            elif not changes and (token := stream.resume_token) is not None:
                yield Batch([], token["_data"])
    finally:
        if upcoming is not None:
            upcoming.cancel()
            await asyncio.gather(upcoming, return_exceptions=True)
