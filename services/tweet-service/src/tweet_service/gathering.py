"""What requests ask for or store in the same turn of the event loop is one query: data loaders.

A round trip costs the driver and MongoDB far more than one more document in it, so the more requests there are, the
less each of them costs. Nobody waits for company, and nothing is remembered: no answer is older than its question.
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

# So many requests in one query; more of them at the same time are several.
MAX_GATHERED = 100

# Codes of MongoDB's errors.
_DUPLICATE_KEY = 11000
_TIME_LIMIT = 50

KeyT = TypeVar("KeyT", bound=Hashable)
ValueT = TypeVar("ValueT")
RequestT = TypeVar("RequestT")
AnswerT = TypeVar("AnswerT")


class _AtOnce(Generic[RequestT, AnswerT]):
    """`answer` gives an answer, or an error, to each of several requests.

    If MongoDB fails, it fails for all of them; what else goes wrong is the error of the request that it is of.
    """

    def __init__(self, answer: Callable[[list[RequestT]], Awaitable[Sequence[AnswerT | Exception]]]) -> None:
        self._answer = answer
        self._loader: DataLoader[RequestT, Any] | None = None

    async def ask(self, request: RequestT) -> AnswerT:
        if self._loader is None:
            # It belongs to the event loop in which it is made.
            self._loader = DataLoader(self._batch, max_batch_size=MAX_GATHERED, cache=False, get_cache_key=id)
        answer: AnswerT = await self._loader.load(request)
        return answer

    async def _batch(self, requests: list[RequestT]) -> list[Any]:
        try:
            return await self._answers(requests)
        except asyncio.CancelledError as error:
            # The loader passes on no cancellation: the requests would wait for ever.
            raise TaskEnded("a query was cancelled") from error

    async def _answers(self, requests: list[RequestT]) -> list[Any]:
        try:
            return list(await self._answer(requests))
        except PyMongoError:
            raise
        except Exception:
            if len(requests) == 1:
                raise
            return await asyncio.gather(*map(self._alone, requests), return_exceptions=True)

    async def _alone(self, request: RequestT) -> AnswerT | Exception:
        (answer,) = await self._answer([request])
        return answer


class Gathering(Generic[KeyT, ValueT]):
    """`find` gives what there is for some keys, by key: as it is stored, for whoever asked to make something of."""

    def __init__(self, find: Callable[[set[KeyT]], Awaitable[Mapping[KeyT, ValueT]]]) -> None:
        self._find = find
        # All that a request asks for is one: a future for each key would cost more than the query.
        self._at_once = _AtOnce(self._answer)

    async def get(self, key: KeyT) -> ValueT | None:
        """None: there is none."""
        return (await self.get_many([key])).get(key)

    async def get_many(self, keys: Collection[KeyT]) -> dict[KeyT, ValueT]:
        """What there is, by key."""
        return await self._at_once.ask(keys) if keys else {}

    async def _answer(self, requests: list[Collection[KeyT]]) -> list[dict[KeyT, ValueT]]:
        found = await self._find(set(chain.from_iterable(requests)))
        return [{key: found[key] for key in keys if key in found} for keys in requests]


def by_id(collection: "Documents", projection: Projection | None = None) -> Gathering[Any, Any]:
    """Of a collection's documents."""

    async def find(ids: Collection[Any]) -> dict[Any, dict[str, Any]]:
        # All in one answer, however many.
        found = collection.find({"_id": {"$in": list(ids)}}, projection).batch_size(len(ids) + 1)
        return {document["_id"]: document for document in await found.to_list(None)}

    return Gathering(find)


class GatheredInserts:
    """Stores documents, each for somebody of his own: what is wrong with one of them is nobody else's error."""

    def __init__(self, collection: "Documents") -> None:
        self._collection = collection
        self._at_once = _AtOnce(self._answer)

    async def insert(self, document: dict[str, Any]) -> None:
        """Raises what `insert_one` would raise."""
        await self._at_once.ask(document)

    async def _answer(self, documents: list[dict[str, Any]]) -> list[PyMongoError | None]:
        try:
            await self._collection.insert_many(documents, ordered=False)
        except BulkWriteError as error:
            refused = {each["index"]: _refusal(each) for each in error.details["writeErrors"]}
            # Of all that were stored nobody knows whether they stay.
            doubts = error.details["writeConcernErrors"]
            doubt = _doubt(doubts[-1]) if doubts else None
            return [refused.get(index, doubt) for index in range(len(documents))]
        # (Anything but a `PyMongoError` is of one that can't be written as BSON, so none has been sent.)
        return [None] * len(documents)


def _refusal(error: Mapping[str, Any]) -> WriteError:
    kind = DuplicateKeyError if error["code"] == _DUPLICATE_KEY else WriteError
    return kind(error["errmsg"], error["code"], {name: value for name, value in error.items() if name != "op"})


def _doubt(error: Mapping[str, Any]) -> WriteConcernError:
    is_late = error.get("code") == _TIME_LIMIT or error.get("errInfo", {}).get("wtimeout")
    kind = WTimeoutError if is_late else WriteConcernError
    return kind(error["errmsg"], error.get("code"), error)
