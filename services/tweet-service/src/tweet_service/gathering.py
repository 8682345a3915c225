"""What requests ask for or store in the same turn of the event loop is one query: data loaders.

A round trip costs the driver and MongoDB far more than one more document in it, so the more requests there are, the
less each of them costs. Nobody waits for company, and nothing is remembered: no answer is older than its question.
"""

from collections.abc import Awaitable, Callable, Hashable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from aiodataloader import DataLoader
from pymongo.errors import BulkWriteError, WriteError, WTimeoutError

if TYPE_CHECKING:
    from motor.motor_asyncio import AsyncIOMotorCollection

    Collection = AsyncIOMotorCollection[dict[str, Any]]

# In one query. More than that at once are several.
MAX_GATHERED = 1000

KeyT = TypeVar("KeyT", bound=Hashable)
ValueT = TypeVar("ValueT")


class Gathering(Generic[KeyT, ValueT]):
    """`find` gives what there is for some keys, by key. If it fails, so do all who asked."""

    def __init__(self, find: Callable[[set[KeyT]], Awaitable[Mapping[KeyT, ValueT]]]) -> None:
        self._find = find
        self._loader: DataLoader[KeyT, ValueT | None] | None = None

    async def get(self, key: KeyT) -> ValueT | None:
        """None: there is none."""
        return await self._load().load(key)

    async def get_many(self, keys: Iterable[KeyT]) -> dict[KeyT, ValueT]:
        """What there is, by key."""
        wanted = list(set(keys))
        found = await self._load().load_many(wanted)
        return {key: value for key, value in zip(wanted, found, strict=True) if value is not None}

    def _load(self) -> DataLoader[KeyT, ValueT | None]:
        # It belongs to the event loop in which it is made.
        if self._loader is None:
            self._loader = DataLoader(self._batch, max_batch_size=MAX_GATHERED, cache=False)
        return self._loader

    async def _batch(self, keys: list[KeyT]) -> list[ValueT | None]:
        found = await self._find(set(keys))
        return [found.get(key) for key in keys]


class GatheredInserts:
    """Stores documents, each for somebody of his own: what is wrong with one of them is nobody else's error."""

    def __init__(self, collection: "Collection") -> None:
        self._collection = collection
        self._loader: DataLoader[dict[str, Any], None] | None = None

    async def insert(self, document: dict[str, Any]) -> None:
        """Raises `WriteError` if MongoDB refuses it, and whatever else an `insert_one` raises."""
        if self._loader is None:
            # (Documents can't be keys of the cache that it has all the same.)
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
