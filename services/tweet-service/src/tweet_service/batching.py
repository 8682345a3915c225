"""Batches of queries: all queries of one turn of the event loop are one query to MongoDB (data loaders).

A round trip costs driver and server far more than one more document in it, so under load each request becomes cheaper.
There is no added delay, and no cache: a result is never older than its query.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Hashable, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from aiodataloader import DataLoader
from pymongo.errors import (
    BulkWriteError,
    DuplicateKeyError,
    PyMongoError,
    WriteConcernError,
    WriteError,
    WTimeoutError,
)

from service_kit.background import TaskEnded

if TYPE_CHECKING:
    from motor.motor_asyncio import AsyncIOMotorCollection

    Documents = AsyncIOMotorCollection[dict[str, Any]]

Projection = Mapping[str, bool] | Sequence[str]

# Most requests in one query.
MAX_BATCH = 100

# Codes of MongoDB's errors.
_DUPLICATE_KEY = 11000
_TIME_LIMIT = 50

KeyT = TypeVar("KeyT", bound=Hashable)
ValueT = TypeVar("ValueT")
RequestT = TypeVar("RequestT")
ResultT = TypeVar("ResultT")


class Batcher(Generic[RequestT, ResultT]):
    """`execute` returns a result, or an error, for each of several requests.

    An error of MongoDB is the error of all requests. After any other error each request is executed alone.
    """

    def __init__(self, execute: Callable[[list[RequestT]], Awaitable[Sequence[ResultT | Exception]]]) -> None:
        self._execute = execute
        self._loader: DataLoader[RequestT, Any] | None = None

    async def run(self, request: RequestT) -> ResultT:
        if self._loader is None:
            # A loader belongs to the event loop that runs when it is created.
            self._loader = DataLoader(self._batch, max_batch_size=MAX_BATCH, cache=False, get_cache_key=id)
        result: ResultT = await self._loader.load(request)
        return result

    async def _batch(self, requests: list[RequestT]) -> list[Any]:
        try:
            return await self._results(requests)
        except asyncio.CancelledError as error:
            # The loader does not pass on a cancellation: the requests would wait for ever.
            raise TaskEnded("a query was cancelled") from error

    async def _results(self, requests: list[RequestT]) -> list[Any]:
        try:
            return list(await self._execute(requests))
        except PyMongoError:
            raise
        except Exception:
            if len(requests) == 1:
                raise
            return await asyncio.gather(*map(self._alone, requests), return_exceptions=True)

    async def _alone(self, request: RequestT) -> ResultT | Exception:
        (result,) = await self._execute([request])
        return result


class BatchLoader(Generic[KeyT, ValueT]):
    """`find` returns the stored values of several keys, by key."""

    def __init__(self, find: Callable[[set[KeyT]], Awaitable[Mapping[KeyT, ValueT]]]) -> None:
        self._find = find
        # One future for all keys of a request: one for each key would cost more than the query.
        self._batcher = Batcher(self._find_all)

    async def get(self, key: KeyT) -> ValueT | None:
        """None if there is no value."""
        return (await self.get_many([key])).get(key)

    async def get_many(self, keys: Collection[KeyT]) -> dict[KeyT, ValueT]:
        """The values that exist, by key."""
        return await self._batcher.run(keys) if keys else {}

    async def _find_all(self, requests: list[Collection[KeyT]]) -> list[dict[KeyT, ValueT]]:
        found = await self._find(set(chain.from_iterable(requests)))
        return [{key: found[key] for key in keys if key in found} for keys in requests]


def by_id(collection: "Documents", projection: Projection | None = None) -> BatchLoader[Any, Any]:
    """A loader of documents by `_id`."""

    async def find(ids: Collection[Any]) -> dict[Any, dict[str, Any]]:
        return await find_by_id(collection, ids, projection)

    return BatchLoader(find)


async def find_by_id(
    collection: "Documents", ids: Collection[Any], projection: Projection | None = None
) -> dict[Any, dict[str, Any]]:
    """The documents that exist, by `_id`."""
    # All documents in the first response.
    found = collection.find({"_id": {"$in": list(ids)}}, projection).batch_size(len(ids) + 1)
    return {document["_id"]: document for document in await found.to_list(None)}


class BatchInserter:
    """Inserts documents of different requests together. An error of one document concerns only its request.

    Measured with 16 connections: with `insert_one` for each request the service stores 40 % fewer tweets per second.
    """

    def __init__(self, collection: "Documents") -> None:
        self._collection = collection
        self._batcher = Batcher(self._insert_all)

    async def insert(self, document: dict[str, Any]) -> None:
        """Raises the same errors as `insert_one`."""
        await self._batcher.run(document)

    async def _insert_all(self, documents: list[dict[str, Any]]) -> list[PyMongoError | None]:
        try:
            await self._collection.insert_many(documents, ordered=False)
        except BulkWriteError as error:
            refused = {each["index"]: _write_error(each) for each in error.details["writeErrors"]}
            # A write concern error concerns all documents that were inserted: they may be rolled back.
            concerns = error.details["writeConcernErrors"]
            concern = _write_concern_error(concerns[-1]) if concerns else None
            return [refused.get(index, concern) for index in range(len(documents))]
        # An error that is not the driver's means that a document can't be encoded as BSON. Then none was sent, and the
        # batcher may send each alone.
        return [None] * len(documents)


def _write_error(error: Mapping[str, Any]) -> WriteError:
    kind = DuplicateKeyError if error["code"] == _DUPLICATE_KEY else WriteError
    return kind(error["errmsg"], error["code"], {name: value for name, value in error.items() if name != "op"})


def _write_concern_error(error: Mapping[str, Any]) -> WriteConcernError:
    is_timeout = error.get("code") == _TIME_LIMIT or error.get("errInfo", {}).get("wtimeout")
    kind = WTimeoutError if is_timeout else WriteConcernError
    return kind(error["errmsg"], error.get("code"), error)
