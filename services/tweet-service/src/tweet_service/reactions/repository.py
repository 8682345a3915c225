"""The collection `likes`. A like's id is the tweet and the person: nobody likes a tweet twice."""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from bson import ObjectId
from pymongo import ASCENDING, DESCENDING, IndexModel

from tweet_service.tweets.repository import LIKES_COLLECTION

if TYPE_CHECKING:
    from motor.motor_asyncio import AsyncIOMotorClientSession, AsyncIOMotorCursor

    from tweet_service.database import Database

_NEWEST_FIRST = [("created_at", DESCENDING), ("_id.user_id", DESCENDING)]
INDEXES = (IndexModel([("_id.tweet_id", ASCENDING), *_NEWEST_FIRST], name="by_tweet_newest_first"),)

Like = dict[str, Any]


class LikeRepository:
    def __init__(self, database: "Database") -> None:
        self._likes = database[LIKES_COLLECTION]

    async def create(
        self, tweet_id: ObjectId, user_id: str, now: datetime, session: "AsyncIOMotorClientSession"
    ) -> bool:
        """Was it not there yet?"""
        like = {"_id": {"tweet_id": tweet_id, "user_id": user_id}}
        stored = await self._likes.update_one(like, {"$setOnInsert": {"created_at": now}}, upsert=True, session=session)
        return stored.upserted_id is not None

    async def delete(self, tweet_id: ObjectId, user_id: str, session: "AsyncIOMotorClientSession") -> bool:
        """Was there one?"""
        like = {"_id": {"tweet_id": tweet_id, "user_id": user_id}}
        return (await self._likes.delete_one(like, session=session)).deleted_count == 1

    async def liked_by(self, user_id: str, tweet_ids: Sequence[ObjectId]) -> set[ObjectId]:
        """Which of these tweets this person likes."""
        ids = [{"tweet_id": tweet_id, "user_id": user_id} for tweet_id in tweet_ids]
        found = await self._likes.find({"_id": {"$in": ids}}, {"_id": 1}).to_list(len(ids))
        return {like["_id"]["tweet_id"] for like in found}

    def newest_query(
        self, tweet_id: ObjectId, before: tuple[datetime, str] | None, limit: int
    ) -> "AsyncIOMotorCursor[Like]":
        """Likes of a tweet, newest first, from behind a position on."""
        query: dict[str, Any] = {"_id.tweet_id": tweet_id}
        if before is not None:
            moment, user_id = before
            query["created_at"] = {"$lte": moment}
            query["$or"] = [{"created_at": {"$lt": moment}}, {"_id.user_id": {"$lt": user_id}}]
        return self._likes.find(query).sort(_NEWEST_FIRST).limit(limit)
