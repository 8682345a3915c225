"""The collections, by PyMongo. One client for each worker, made when it is first needed, as it must not be forked."""

from functools import cache

import pymongo
from django.conf import settings

NEWEST_FIRST = [("created_at", -1), ("_id", -1)]
JOIN = [
    {"$lookup": {"from": "tweet_counts", "localField": "_id", "foreignField": "_id", "as": "counts"}},
    {"$lookup": {"from": "users_copy", "localField": "author_id", "foreignField": "_id", "as": "author"}},
    {"$unset": ["edits", "ancestors", "tags"]},
]


@cache
def database():
    client = pymongo.MongoClient(settings.MONGODB_URL, tz_aware=True, w="majority", timeoutMS=2500)
    return client.get_default_database()


def joined(*stages):
    """Tweets that a pipeline finds, with their authors and counts: one round trip, as tweet-service does it."""
    return [shown(tweet) for tweet in database()["tweets"].aggregate([*stages, *JOIN])]


def shown(tweet):
    author = next(iter(tweet["author"]), None)
    counts = {"likes": 0, "reposts": 0, "replies": 0, **next(iter(tweet["counts"]), {})}
    return {**tweet, "id": tweet["_id"], "author": author, "author_deleted": author is None, "counts": counts}


def author_of(user_id):
    """A list of one or none."""
    return list(database()["users_copy"].find({"_id": user_id}, ["username", "name"]))
