"""The collection `idempotency_keys`: the tweet that a key has created, for a day."""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, TypedDict, cast

from bson import ObjectId
from pymongo import ASCENDING, IndexModel

if TYPE_CHECKING:
    from motor.motor_asyncio import AsyncIOMotorClientSession

    from tweet_service.database import Database

COLLECTION = "idempotency_keys"
LIFETIME = timedelta(hours=24)
INDEXES = (IndexModel([("created_at", ASCENDING)], name="lifetime", expireAfterSeconds=int(LIFETIME.total_seconds())),)


class KeyDocument(TypedDict):
    """`_id` is a digest of user and key, `request` a digest of the request."""

    _id: bytes
    request: bytes
    tweet_id: ObjectId
    created_at: datetime


class IdempotencyRepository:
    def __init__(self, database: "Database") -> None:
        self._keys = database[COLLECTION]

    async def get(self, key: bytes) -> KeyDocument | None:
        return cast("KeyDocument | None", await self._keys.find_one({"_id": key}))

    async def create(self, document: KeyDocument, session: "AsyncIOMotorClientSession") -> None:
        """Raises pymongo's `DuplicateKeyError`."""
        await self._keys.insert_one(dict(document), session=session)

    async def delete(self, key: bytes) -> None:
        await self._keys.delete_one({"_id": key})
