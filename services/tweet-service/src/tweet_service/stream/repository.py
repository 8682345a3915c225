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

# The server answers to a change stream after a second at the latest.
_SILENCE_MS = 10_000
_CONNECTIONS = 20
# The log was cut off behind it; it is of another log; it is where the collection was dropped.
_LOST = {286, 280, 260}
# Not a token: no hexadecimal number, or too short for what it says is in it.
_INVALID = {2, 9, 15}
# What else MongoDB's parser has against one is numbered after the place in its source, and named so.
_OF_A_PLACE = "Location"
_PIPELINE: list[Mapping[str, Any]] = [
    # What a program does to its own fields of a tweet is no edit.
    {
        "$match": {
            "$or": [
                {"operationType": {"$in": ["insert", "replace", "delete"]}},
                {"updateDescription.updatedFields.version": {"$exists": True}},
                {"updateDescription.updatedFields.text": {"$exists": True}},
            ]
        }
    },
    # What nobody is shown; an edit's history can be long.
    {"$unset": ["fullDocument.edits", "fullDocument.ancestors", "updateDescription"]},
]


def connect(url: str) -> Client:
    """A client of its own for change streams: waiting for the next change holds no thread, and no request's turn."""
    return AsyncMongoClient(
        url,
        appname="tweet-service stream",
        tz_aware=True,
        serverSelectionTimeoutMS=SERVER_SELECTION_MS,
        connectTimeoutMS=SERVER_SELECTION_MS,
        socketTimeoutMS=_SILENCE_MS,
        maxPoolSize=_CONNECTIONS,
    )


@dataclass(frozen=True)
class Batch:
    """Changes in their order, and how far they reach. There may be none."""

    changes: list[Change]
    position: str


class TweetChanges:
    def __init__(self, client: Client) -> None:
        self._database = client.get_default_database()

    async def now(self) -> Timestamp:
        """The cluster time of the last that was done before the call."""
        done: Timestamp = (await self._database.command("ping"))["operationTime"]
        return done

    async def behind(self, position: str, *, at_once: int, wait_ms: int) -> AsyncGenerator[Batch, None]:
        """All changes behind a position, without end; an empty batch when there was none for `wait_ms`.

        A full document is the tweet as it is when the change is read. Raises `PositionLost`, `InvalidPosition`,
        `StreamInvalidated` and what the driver raises.
        """
        try:
            async with (
                await self._open(position, at_once, wait_ms) as stream,
                aclosing(_batches(stream, at_once)) as batches,
            ):
                async for batch in batches:
                    yield batch
        except OperationFailure as error:
            if error.code in _LOST:
                raise PositionLost from error
            if error.code in _INVALID or str((error.details or {}).get("codeName")).startswith(_OF_A_PLACE):
                raise InvalidPosition from error
            raise
        raise StreamInvalidated

    async def _open(self, position: str, at_once: int, wait_ms: int) -> AsyncChangeStream[Change]:
        begin: dict[str, Any] = (
            {"start_at_operation_time": time_of(position)}
            if is_bare_time(position)
            else {"resume_after": {"_data": position}}
        )
        return await self._database[COLLECTION].watch(
            _PIPELINE, full_document="updateLookup", batch_size=at_once, max_await_time_ms=wait_ms, **begin
        )


async def _batches(stream: AsyncChangeStream[Change], at_once: int) -> AsyncGenerator[Batch, None]:
    """What has arrived together, together. The next is asked for while a batch is being worked on."""
    changes: list[Change] = []
    upcoming: asyncio.Task[Change | None] | None = None
    try:
        while stream.alive:
            upcoming = asyncio.create_task(stream.try_next())
            # What is here already is there after one turn of the loop; what is not has to be waited for.
            await asyncio.sleep(0)
            if changes and (len(changes) >= at_once or not upcoming.done()):
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
