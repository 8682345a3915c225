"""Brings tweets that an earlier release has stored up to what this one looks for. Idempotent."""

from typing import TYPE_CHECKING, Any

from pymongo import UpdateOne

from tweet_service.tweets.entities import tags_of
from tweet_service.tweets.repository import COLLECTION, COUNTS_COLLECTION

if TYPE_CHECKING:
    from tweet_service.database import Database

_AT_ONCE = 1000


async def upgrade_tweets(database: "Database") -> int:
    """Give them tags and ancestors, and count their replies. How many there were."""
    tweets = database[COLLECTION]
    done = 0
    while outdated := await tweets.find({"tags": {"$exists": False}}).limit(_AT_ONCE).to_list(_AT_ONCE):
        await tweets.bulk_write([UpdateOne({"_id": each["_id"]}, {"$set": _added(each)}) for each in outdated])
        done += len(outdated)
    if done:
        # They were counted at each read until now.
        counted = {"$group": {"_id": "$reply_to", "replies": {"$sum": 1}}}
        stored = {"$merge": {"into": COUNTS_COLLECTION, "whenMatched": "merge"}}
        pipeline: list[dict[str, Any]] = [{"$match": {"reply_to": {"$type": "objectId"}}}, counted, stored]
        await tweets.aggregate(pipeline).to_list(None)
    return done


def _added(tweet: dict[str, Any]) -> dict[str, Any]:
    reply_to = tweet.get("reply_to")
    try:
        tags = tags_of(tweet["entities"])
    except (KeyError, TypeError):
        # Somebody else wrote it. It is found by none, and keeps the service from nothing.
        tags = []
    return {"tags": tags, "ancestors": [] if reply_to is None else [reply_to]}
