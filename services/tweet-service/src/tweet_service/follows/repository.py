"""The collection `follows`. The id of a follow is the follower and the followee."""

from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from pymongo import ASCENDING, DESCENDING, IndexModel

if TYPE_CHECKING:
    from motor.motor_asyncio import AsyncIOMotorCursor

    from tweet_service.database import Database

COLLECTION = "follows"
Side = Literal["follower_id", "followee_id"]
_OTHER: dict[Side, Side] = {"follower_id": "followee_id", "followee_id": "follower_id"}
INDEXES = tuple(
    IndexModel(
        [(f"_id.{side}", ASCENDING), ("created_at", DESCENDING), (f"_id.{other}", DESCENDING)],
        name=f"by_{side}_newest_first",
    )
    for side, other in _OTHER.items()
)

Follow = dict[str, Any]


class FollowRepository:
    def __init__(self, database: "Database") -> None:
        self._follows = database[COLLECTION]

    async def create(self, follower_id: str, followee_id: str, now: datetime) -> None:
        """Idempotent."""
        follow = {"_id": {"follower_id": follower_id, "followee_id": followee_id}}
        await self._follows.update_one(follow, {"$setOnInsert": {"created_at": now}}, upsert=True)

    async def delete(self, follower_id: str, followee_id: str) -> None:
        await self._follows.delete_one({"_id": {"follower_id": follower_id, "followee_id": followee_id}})

    async def count(self, side: Side, user_id: str, limit: int | None = None) -> int:
        """How many follows have this user on this side, at most `limit`. Only an index is read."""
        most = {} if limit is None else {"limit": limit}
        return await self._follows.count_documents({f"_id.{side}": user_id}, None, None, **most)

    async def exists(self, follower_id: str, followee_id: str) -> bool:
        follow = {"_id": {"follower_id": follower_id, "followee_id": followee_id}}
        return await self._follows.find_one(follow, {"_id": True}) is not None

    async def followees(self, user_id: str, limit: int) -> list[str]:
        """The ids of the users that this one follows, newest first."""
        found = self.newest_query("follower_id", user_id, None, limit)
        return [follow["_id"]["followee_id"] for follow in await found.to_list(limit)]

    def newest_query(
        self, side: Side, user_id: str, before: tuple[datetime, str] | None, limit: int
    ) -> "AsyncIOMotorCursor[Follow]":
        """Follows with this user on this side, newest first, after a position."""
        other = f"_id.{_OTHER[side]}"
        query: dict[str, Any] = {f"_id.{side}": user_id}
        if before is not None:
            time, other_id = before
            query["created_at"] = {"$lte": time}
            query["$or"] = [{"created_at": {"$lt": time}}, {other: {"$lt": other_id}}]
        return self._follows.find(query).sort([("created_at", DESCENDING), (other, DESCENDING)]).limit(limit)
