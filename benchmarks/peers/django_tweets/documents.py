"""The collections. Each worker creates its PyMongo client at the first use, because a client must not be forked."""

from functools import cache

import pymongo
from django.conf import settings

NEWEST_FIRST = [("created_at", -1), ("_id", -1)]
HIDDEN = dict.fromkeys(("edits", "ancestors", "tags"), False)
JOIN = [
    {"$lookup": {"from": "tweet_counts", "localField": "_id", "foreignField": "_id", "as": "counts"}},
    {"$lookup": {"from": "users_copy", "localField": "author_id", "foreignField": "_id", "as": "author"}},
    {"$unset": list(HIDDEN)},
]


@cache
def database():
    client = pymongo.MongoClient(settings.MONGODB_URL, tz_aware=True, w="majority", timeoutMS=2500)
    return client.get_default_database()


def one(tweet_id):
    """Return a tweet with its author and counts in one round trip, or None."""
    found = database()["tweets"].aggregate([{"$match": {"_id": tweet_id}}, *JOIN])
    return next((shown(tweet, tweet["author"], tweet["counts"]) for tweet in found), None)


def newest(wanted, limit):
    """Return a page. One query each for all authors and counts is faster than a join for each tweet."""
    page = list(database()["tweets"].find(wanted, HIDDEN).sort(NEWEST_FIRST).limit(limit))
    authors = _by_id("users_copy", {tweet["author_id"] for tweet in page})
    counts = _by_id("tweet_counts", [tweet["_id"] for tweet in page])
    return [shown(tweet, authors.get(tweet["author_id"], []), counts.get(tweet["_id"], [])) for tweet in page]


def shown(tweet, author, counts):
    """`author` and `counts` are lists with at most one element."""
    author = next(iter(author), None)
    counts = {"likes": 0, "reposts": 0, "replies": 0, **next(iter(counts), {})}
    return {**tweet, "id": tweet["_id"], "author": author, "author_deleted": author is None, "counts": counts}


def _by_id(collection, ids):
    return {found["_id"]: [found] for found in database()[collection].find({"_id": {"$in": list(ids)}})}


def author_of(user_id):
    """Return a list with at most one element."""
    return list(database()["users_copy"].find({"_id": user_id}, ["username", "name"]))
