"""The collection `likes`. The id of a like is the tweet and the user, so a user likes a tweet once at most."""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from bson import ObjectId
from pymongo import ASCENDING, DESCENDING, IndexModel

if TYPE_CHECKING:
    from motor.motor_asyncio import AsyncIOMotorClientSession, AsyncIOMotorCursor

    from tweet_service.database import Database

COLLECTION = "likes"
_NEWEST_FIRST = [("created_at", DESCENDING), ("_id.user_id", DESCENDING)]
INDEXES = (IndexModel([("_id.tweet_id", ASCENDING), *_NEWEST_FIRST], name="by_tweet_newest_first"),)

Like = dict[str, Any]


class LikeRepository:
    def __init__(self, database: "Database") -> None:
        self._likes = database[COLLECTION]

    async def create(
        self, tweet_id: ObjectId, user_id: str, now: datetime, session: "AsyncIOMotorClientSession"
    ) -> bool:
        """Returns whether the like is new."""
        like = {"_id": {"tweet_id": tweet_id, "user_id": user_id}}
        stored = await self._likes.update_one(like, {"$setOnInsert": {"created_at": now}}, upsert=True, session=session)
        return stored.upserted_id is not None

    async def delete(self, tweet_id: ObjectId, user_id: str, session: "AsyncIOMotorClientSession") -> bool:
        """Returns whether the like existed."""
        like = {"_id": {"tweet_id": tweet_id, "user_id": user_id}}
        return (await self._likes.delete_one(like, session=session)).deleted_count == 1

    async def delete_all_of(self, tweet_id: ObjectId) -> None:
        """Delete the likes of a deleted tweet."""
        await self._likes.delete_many({"_id.tweet_id": tweet_id})

    async def liked_by(self, user_id: str, tweet_ids: Sequence[ObjectId]) -> set[ObjectId]:
        """The tweets among these that the user likes."""
        ids = [{"tweet_id": tweet_id, "user_id": user_id} for tweet_id in tweet_ids]
        found = await self._likes.find({"_id": {"$in": ids}}, {"_id": 1}).to_list(len(ids))
        return {like["_id"]["tweet_id"] for like in found}

    def newest_query(
        self, tweet_id: ObjectId, before: tuple[datetime, str] | None, limit: int
    ) -> "AsyncIOMotorCursor[Like]":
        """Likes of a tweet, newest first, after a position."""
        query: dict[str, Any] = {"_id.tweet_id": tweet_id}
        if before is not None:
            time, user_id = before
            query["created_at"] = {"$lte": time}
            query["$or"] = [{"created_at": {"$lt": time}}, {"_id.user_id": {"$lt": user_id}}]
        return self._likes.find(query).sort(_NEWEST_FIRST).limit(limit)
