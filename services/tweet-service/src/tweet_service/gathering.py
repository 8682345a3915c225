"""What requests ask for or store in the same turn of the event loop is one query: data loaders.

A round trip costs the driver and MongoDB far more than one more document in it, so the more requests there are, the
less each of them costs. Nobody waits for company, and nothing is remembered: no answer is older than its question.
"""

from collections.abc import Awaitable, Callable, Collection, Hashable, Mapping
from itertools import chain
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from aiodataloader import DataLoader
from pymongo.errors import BulkWriteError, WriteError, WTimeoutError

if TYPE_CHECKING:
    from motor.motor_asyncio import AsyncIOMotorCollection

    Documents = AsyncIOMotorCollection[dict[str, Any]]

# So many requests in one query; more of them at the same time are several.
MAX_GATHERED = 100

KeyT = TypeVar("KeyT", bound=Hashable)
ValueT = TypeVar("ValueT")


class Gathering(Generic[KeyT, ValueT]):
    """`find` gives what there is for some keys, by key. If it fails, so do all who asked."""

    def __init__(self, find: Callable[[set[KeyT]], Awaitable[Mapping[KeyT, ValueT]]]) -> None:
        self._find = find
        # What is loaded for a request is all that it asks for: a future for each key would cost more than the query.
        self._loader: DataLoader[Collection[KeyT], dict[KeyT, ValueT]] | None = None

    async def get(self, key: KeyT) -> ValueT | None:
        """None: there is none."""
        return (await self.get_many([key])).get(key)

    async def get_many(self, keys: Collection[KeyT]) -> dict[KeyT, ValueT]:
        """What there is, by key."""
        if not keys:
            return {}
        if self._loader is None:
            # It belongs to the event loop in which it is made.
            self._loader = DataLoader(self._batch, max_batch_size=MAX_GATHERED, cache=False, get_cache_key=id)
        return await self._loader.load(keys)

    async def _batch(self, requests: list[Collection[KeyT]]) -> list[dict[KeyT, ValueT]]:
        found = await self._find(set(chain.from_iterable(requests)))
        return [{key: found[key] for key in keys if key in found} for keys in requests]


class GatheredInserts:
    """Stores documents, each for somebody of his own: what is wrong with one of them is nobody else's error."""

    def __init__(self, collection: "Documents") -> None:
        self._collection = collection
        self._loader: DataLoader[dict[str, Any], None] | None = None

    async def insert(self, document: dict[str, Any]) -> None:
        """Raises `WriteError` if MongoDB refuses it, and whatever else an `insert_one` raises."""
        if self._loader is None:
            self._loader = DataLoader(self._batch, max_batch_size=MAX_GATHERED, cache=False, get_cache_key=id)
        await self._loader.load(document)

    async def _batch(self, documents: list[dict[str, Any]]) -> list[Any]:
        """For each document None or its error."""
        refused: dict[int, WriteError] = {}
        try:
            await self._collection.insert_many(documents, ordered=False)
        except BulkWriteError as error:
            if doubts := error.details["writeConcernErrors"]:
                # Of all of them nobody knows.
                raise WTimeoutError(doubts[0]["errmsg"], doubts[0].get("code"), doubts[0]) from error
            refused = {each["index"]: WriteError(each["errmsg"], each["code"]) for each in error.details["writeErrors"]}
        return [refused.get(index) for index in range(len(documents))]
