"""Plans the writes of a batch, from the batch and the stored documents. Pure.

Every document is written once at most: all change events of a transaction have the same source position, so the sync
would treat a second event of a tweet as a redelivery of the first.
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
# The fields of a stored tweet that the plan needs.
KNOWN_FIELDS = ("text", "reply_to", "repost_of", "ancestors", DIGEST)
# References to a tweet, and the counts that they change.
_KINDS = {"reply_to": "replies", "repost_of": "reposts"}


@dataclass(frozen=True, slots=True)
class Item:
    """A tweet to import. An original comes from inside another tweet: it is inserted, but never updates."""

    tweet: SourceTweet
    content: TweetContent
    digest: bytes
    is_original: bool


@dataclass(frozen=True)
class Known:
    """Stored documents: tweets of the batch, and tweets that they refer to or referred to, with `KNOWN_FIELDS`.

    For tweets with a new place in a thread (`is_moved`), `below` are their direct and indirect replies, which may have
    been imported earlier, with `ancestors` and `reply_to`. `reposts` counts reposts of new tweets.
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
    """The ids of these tweets and of all tweets that they refer to."""
    found = {object_id(item.tweet.id) for item in items}
    for item in items:
        found |= referred_to(item.content)
    return found


def referred_to(document: Mapping[str, Any]) -> set[ObjectId]:
    """The tweets whose counts include this one."""
    return {document[name] for name in _KINDS} - {None}


def is_moved(item: Item, known: Mapping[ObjectId, Document]) -> bool:
    """Whether the tweet is new, or replies to another tweet than before."""
    former = known.get(object_id(item.tweet.id))
    return former is None or (not item.is_original and former["reply_to"] != item.content["reply_to"])


def plan(items: Sequence[Item], known: Known, now: datetime) -> Plan:
    """`items` contains each tweet once."""
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
    """The dataset has changed. A new text is an edit: the previous text is kept."""
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
    """The known ancestors of each written tweet.

    A reply has a greater id than its parent, so parents come first in the order of ids.
    """
    chains: dict[ObjectId, list[ObjectId]] = {}
    for tweet_id in sorted(written):
        parent = written[tweet_id].content["reply_to"]
        if parent is None:
            chains[tweet_id] = []
        else:
            above = known.tweets[parent]["ancestors"] if parent in known.tweets else []
            chains[tweet_id] = _extended([*above, parent], chains)
    return chains


def _extended(ancestors: list[ObjectId], chains: Mapping[ObjectId, list[ObjectId]]) -> list[ObjectId]:
    """The same ancestors, extended above the nearest one whose chain is known."""
    for place in reversed(range(len(ancestors))):
        above = chains.get(ancestors[place])
        if above is not None:
            return [*above, *ancestors[place:]][-MAX_ANCESTORS:]
    return ancestors[-MAX_ANCESTORS:]


def _moved_below(known: Known, chains: Mapping[ObjectId, list[ObjectId]]) -> Iterable[UpdateOne]:
    """Updates of stored replies whose parents are imported now: they get the upper part of the thread."""
    for document in known.below:
        ancestors = _extended(document["ancestors"], chains)
        if document["_id"] not in chains and ancestors != document["ancestors"]:
            yield UpdateOne({"_id": document["_id"]}, {"$set": {"ancestors": ancestors}})


# --- counts


def _counts(new: Mapping[ObjectId, Item], changed: Mapping[ObjectId, Item], known: Known) -> list[Write]:
    """Stored tweets change their counts by the new references; new tweets count all references."""
    changes = _changes(new, changed, known)
    existing: dict[ObjectId, Counter[str]] = {}
    for document in known.below:
        if document["reply_to"] in new:
            existing.setdefault(document["reply_to"], Counter())["replies"] += 1
    for tweet_id, reposts in known.reposts.items():
        existing.setdefault(tweet_id, Counter())["reposts"] += reposts
    # Counts that remain of a deleted tweet that is imported again.
    writes: list[Write] = [DeleteMany({"_id": {"$in": list(new)}})] if new else []
    for tweet_id in {**changes, **existing}:
        change = changes.get(tweet_id, Counter())
        if tweet_id in new:
            change.update(existing.get(tweet_id, Counter()))
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
    """The latest state of each author, from this batch or an earlier one."""
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
