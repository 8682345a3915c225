"""Decides what to write of a batch, from the batch and what the database has of it. Pure.

Every document is written once at most: in a transaction all change events have the same source position, and of two
of the same tweet the sync would take the second for a replay of the first.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from bson import ObjectId
from pymongo import DeleteMany, InsertOne, UpdateOne

from tweet_service.importing.mapping import SourceTweet, SourceUser, TweetContent, author_id, object_id
from tweet_service.tweets.models import MAX_ANCESTORS
from tweet_service.tweets.repository import EDITS_KEPT

Document = dict[str, Any]
DocumentWrite = InsertOne[Document] | UpdateOne
Write = DocumentWrite | DeleteMany

DIGEST = "import_digest"
# What the planning reads of a tweet that is there.
KNOWN_FIELDS = ("text", "reply_to", "repost_of", "ancestors", DIGEST)
# What refers to a tweet, and as what it is counted there.
_KINDS = {"reply_to": "replies", "repost_of": "reposts"}


@dataclass(frozen=True, slots=True)
class Item:
    """A tweet to be imported. An original comes inside another tweet: it fills a gap, and replaces nothing."""

    tweet: SourceTweet
    content: TweetContent
    digest: bytes
    is_original: bool


@dataclass(frozen=True)
class Known:
    """What the database has: the tweets of the batch and those they refer to or did, each with `KNOWN_FIELDS`.

    Of tweets whose place in a thread is new (`is_moved`): `below` are replies to them and replies to those, with
    `ancestors` and `reply_to`; they may have come first. `reposts` counts reposts of tweets that are new.
    """

    tweets: Mapping[ObjectId, Document] = field(default_factory=dict)
    below: Sequence[Document] = ()
    reposts: Mapping[ObjectId, int] = field(default_factory=dict)
    profiles: Mapping[str, Document] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    tweets: list[DocumentWrite]
    counts: list[Write]
    profiles: list[DocumentWrite]
    inserted: int
    updated: int
    skipped: int
    originals: int


def references(items: Iterable[Item]) -> set[ObjectId]:
    """Every tweet that these are or refer to."""
    found = {object_id(item.tweet.id) for item in items}
    for item in items:
        found |= referred_to(item.content)
    return found


def referred_to(document: Mapping[str, Any]) -> set[ObjectId]:
    """The tweets that count this one."""
    return {document[name] for name in _KINDS} - {None}


def is_moved(item: Item, known: Mapping[ObjectId, Document]) -> bool:
    """Is it new, or a reply to another tweet than before?"""
    former = known.get(object_id(item.tweet.id))
    return former is None or (not item.is_original and former["reply_to"] != item.content["reply_to"])


def plan(items: Sequence[Item], known: Known, now: datetime) -> Plan:
    """`items` has no tweet twice."""
    new: dict[ObjectId, Item] = {}
    changed: dict[ObjectId, Item] = {}
    for item in items:
        tweet_id = object_id(item.tweet.id)
        if tweet_id not in known.tweets:
            new[tweet_id] = item
        elif not item.is_original and known.tweets[tweet_id].get(DIGEST) != item.digest:
            changed[tweet_id] = item
    chains = _chains({**new, **changed}, known)
    originals = sum(item.is_original for item in new.values())
    own = sum(not item.is_original for item in items)
    return Plan(
        tweets=[
            *(InsertOne(_document(tweet_id, item, chains[tweet_id])) for tweet_id, item in new.items()),
            *(_update(known.tweets[tweet_id], item, chains[tweet_id], now) for tweet_id, item in changed.items()),
            *_moved_below(known, chains),
        ],
        counts=_counts(new, changed, known),
        profiles=_profiles(items, known.profiles),
        inserted=len(new) - originals,
        updated=len(changed),
        skipped=own - (len(new) - originals) - len(changed),
        originals=originals,
    )


def _document(tweet_id: ObjectId, item: Item, ancestors: list[ObjectId]) -> Document:
    return {
        "_id": tweet_id,
        **item.content,
        "edited_at": None,
        "version": 1,
        "ancestors": ancestors,
        "edits": [],
        DIGEST: item.digest,
    }


def _update(former: Document, item: Item, ancestors: list[ObjectId], now: datetime) -> UpdateOne:
    """The dataset has changed since. Another text is an edit like any: the former one is kept."""
    change: Document = {
        "$set": {**item.content, "ancestors": ancestors, DIGEST: item.digest},
        "$inc": {"version": 1},
    }
    if former["text"] != item.content["text"]:
        change["$set"]["edited_at"] = now
        change["$push"] = {
            "edits": {"$each": [{"text": former["text"], "edited_at": now}], "$slice": -EDITS_KEPT},
        }
    return UpdateOne({"_id": former["_id"]}, change)


# --- threads


def _chains(written: Mapping[ObjectId, Item], known: Known) -> dict[ObjectId, list[ObjectId]]:
    """The ancestors of each tweet that is written, as far as they are known.

    Replies have greater ids than what they reply to, so in order of ids a parent comes before its replies.
    """
    chains: dict[ObjectId, list[ObjectId]] = {}
    for tweet_id in sorted(written):
        parent = written[tweet_id].content["reply_to"]
        if parent is None:
            chains[tweet_id] = []
        else:
            above = known.tweets[parent]["ancestors"] if parent in known.tweets else []
            chains[tweet_id] = _continued([*above, parent], chains)
    return chains


def _continued(ancestors: list[ObjectId], chains: Mapping[ObjectId, list[ObjectId]]) -> list[ObjectId]:
    """The same, with what is known by now of those above the nearest that is written."""
    for place in reversed(range(len(ancestors))):
        above = chains.get(ancestors[place])
        if above is not None:
            return [*above, *ancestors[place:]][-MAX_ANCESTORS:]
    return ancestors[-MAX_ANCESTORS:]


def _moved_below(known: Known, chains: Mapping[ObjectId, list[ObjectId]]) -> Iterable[UpdateOne]:
    """Replies that were there before what they reply to get the rest of their threads."""
    for document in known.below:
        ancestors = _continued(document["ancestors"], chains)
        if document["_id"] not in chains and ancestors != document["ancestors"]:
            yield UpdateOne({"_id": document["_id"]}, {"$set": {"ancestors": ancestors}})


# --- counts


def _counts(new: Mapping[ObjectId, Item], changed: Mapping[ObjectId, Item], known: Known) -> list[Write]:
    """Those of tweets that were there change by what is new; those of new tweets are what there is of them."""
    changes = _changes(new, changed, known)
    there: dict[ObjectId, Counter[str]] = {}
    for document in known.below:
        if document["reply_to"] in new:
            there.setdefault(document["reply_to"], Counter())["replies"] += 1
    for tweet_id, reposts in known.reposts.items():
        there.setdefault(tweet_id, Counter())["reposts"] += reposts
    # What is left of a tweet that was deleted and is imported again.
    writes: list[Write] = [DeleteMany({"_id": {"$in": list(new)}})] if new else []
    for tweet_id in {**changes, **there}:
        change = changes.get(tweet_id, Counter())
        if tweet_id in new:
            change.update(there.get(tweet_id, Counter()))
        elif tweet_id not in known.tweets:
            continue
        if by := {kind: number for kind, number in change.items() if number}:
            writes.append(UpdateOne({"_id": tweet_id}, {"$inc": by}, upsert=True))
    return writes


def _changes(
    new: Mapping[ObjectId, Item], changed: Mapping[ObjectId, Item], known: Known
) -> dict[ObjectId, Counter[str]]:
    changes: dict[ObjectId, Counter[str]] = {}
    for tweet_id, item in {**new, **changed}.items():
        former = known.tweets.get(tweet_id, {})
        for name, kind in _KINDS.items():
            for reference, by in ((item.content.get(name), 1), (former.get(name), -1)):
                if isinstance(reference, ObjectId):
                    changes.setdefault(reference, Counter())[kind] += by
    return changes


# --- people


def _profiles(items: Iterable[Item], known: Mapping[str, Document]) -> list[DocumentWrite]:
    """Everybody as he was seen last, here or before."""
    latest: dict[int, SourceUser] = {}
    for item in items:
        user = item.tweet.user
        if user.id not in latest or latest[user.id].as_of < user.as_of:
            latest[user.id] = user
    writes: list[DocumentWrite] = []
    for user in latest.values():
        profile = {
            "username": user.username,
            "name": user.name,
            "created_at": user.created_at,
            "as_of": user.as_of,
        }
        profile_id = author_id(user.id)
        former = known.get(profile_id)
        if former is None:
            writes.append(InsertOne({"_id": profile_id, **profile}))
        elif former["as_of"] <= user.as_of and any(former[name] != value for name, value in profile.items()):
            writes.append(UpdateOne({"_id": profile_id}, {"$set": profile}))
    return writes
