"""Upgrades tweets that an earlier release has stored. Idempotent."""

from typing import TYPE_CHECKING, Any

from pymongo import UpdateOne

from tweet_service.tweets.entities import tags_of
from tweet_service.tweets.repository import COLLECTION, COUNTS_COLLECTION

if TYPE_CHECKING:
    from tweet_service.database import Database

_BATCH = 1000


async def upgrade_tweets(database: "Database") -> int:
    """Add tags and ancestors, and count replies. Returns the number of upgraded tweets."""
    tweets = database[COLLECTION]
    done = 0
    while outdated := await tweets.find({"tags": {"$exists": False}}).limit(_BATCH).to_list(_BATCH):
        await tweets.bulk_write([UpdateOne({"_id": each["_id"]}, {"$set": _added(each)}) for each in outdated])
        done += len(outdated)
    if done:
        # The earlier release counted replies at each read.
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
        # Not a valid tweet. It gets no tags, and does not stop the upgrade.
        tags = []
    return {"tags": tags, "ancestors": [] if reply_to is None else [reply_to]}
