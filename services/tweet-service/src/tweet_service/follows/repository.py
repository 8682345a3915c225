"""The collection `follows`. A follow's id is who follows and who is followed."""

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
        """Once, however often."""
        follow = {"_id": {"follower_id": follower_id, "followee_id": followee_id}}
        await self._follows.update_one(follow, {"$setOnInsert": {"created_at": now}}, upsert=True)

    async def delete(self, follower_id: str, followee_id: str) -> None:
        await self._follows.delete_one({"_id": {"follower_id": follower_id, "followee_id": followee_id}})

    async def count(self, side: Side, user_id: str) -> int:
        """How many there are with this person on this side."""
        return await self._follows.count_documents({f"_id.{side}": user_id})

    async def exists(self, follower_id: str, followee_id: str) -> bool:
        follow = {"_id": {"follower_id": follower_id, "followee_id": followee_id}}
        return await self._follows.find_one(follow, {"_id": True}) is not None

    async def followees(self, user_id: str, limit: int) -> list[str]:
        """Whom somebody follows, the latest first."""
        found = self.newest_query("follower_id", user_id, None, limit)
        return [follow["_id"]["followee_id"] for follow in await found.to_list(limit)]

    def newest_query(
        self, side: Side, user_id: str, before: tuple[datetime, str] | None, limit: int
    ) -> "AsyncIOMotorCursor[Follow]":
        """Follows with this person on this side, newest first, from behind a position on."""
        other = f"_id.{_OTHER[side]}"
        query: dict[str, Any] = {f"_id.{side}": user_id}
        if before is not None:
            moment, other_id = before
            query["created_at"] = {"$lte": moment}
            query["$or"] = [{"created_at": {"$lt": moment}}, {other: {"$lt": other_id}}]
        return self._follows.find(query).sort([("created_at", DESCENDING), (other, DESCENDING)]).limit(limit)
