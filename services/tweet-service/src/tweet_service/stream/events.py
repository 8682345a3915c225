"""Events of the stream, their positions, and the filter of a subscriber. Pure.

A position is a place in MongoDB's log: the `_data` of a resume token, which is hexadecimal and sorts, as text, in the
order of changes (a sharded cluster merges the streams of its shards by it). It begins with the cluster time; a position
that has only the time is before all changes of that time.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Literal

from bson import Timestamp

from service_kit.sse.events import message
from tweet_service.stream.schemas import DeletedTweet
from tweet_service.tweets.schemas import Tweet

Kind = Literal["tweet", "edit", "delete"]

MAX_POSITION_LENGTH = 1000
_TIMESTAMP = "82"  # the type of a timestamp in MongoDB's sortable encoding, "KeyString"
_BARE_LENGTH = len(_TIMESTAMP) + 16
_POSITION = re.compile(_TIMESTAMP + "[0-9A-F]{16}(?:2B(?:[0-9A-F]{2})+)?")
_KINDS: dict[str, Kind] = {"insert": "tweet", "update": "edit", "replace": "edit", "delete": "delete"}


def position_at(time: Timestamp) -> str:
    """The position before all changes of this cluster time."""
    return f"{_TIMESTAMP}{time.time:08X}{time.inc:08X}"


def is_position(text: str) -> bool:
    return len(text) <= MAX_POSITION_LENGTH and _POSITION.fullmatch(text) is not None


def time_of(position: str) -> Timestamp:
    return Timestamp(int(position[2:10], 16), int(position[10:18], 16))


def is_bare_time(position: str) -> bool:
    return len(position) == _BARE_LENGTH


@dataclass(frozen=True, slots=True)
class StreamEvent:
    """`text` is encoded once for all subscribers. A deletion has neither author nor tags."""

    position: str
    kind: Kind
    text: bytes
    author_id: str | None = None
    tags: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class StreamFilter:
    """The events that a subscriber wants. Author and tag must both match, if given."""

    author_id: str | None = None
    tag: str | None = None

    def matches(self, event: StreamEvent) -> bool:
        """All subscribers get deletions, because author and tags of a deleted tweet are unknown."""
        return event.kind == "delete" or self._matches(event.author_id, event.tags)

    def matches_change(self, change: dict[str, Any]) -> bool:
        """The same for a change event of MongoDB."""
        document = change.get("fullDocument") or {}
        is_deletion = change["operationType"] == "delete"
        return is_deletion or self._matches(document.get("author_id"), document.get("tags", ()))

    def _matches(self, author_id: str | None, tags: Collection[str]) -> bool:
        if self.author_id is not None and self.author_id != author_id:
            return False
        return self.tag is None or self.tag in tags


def event_of(change: dict[str, Any], tweet: Tweet | None) -> StreamEvent:
    """`change` is a change event of MongoDB; `tweet` is the tweet in the response, None if it was deleted."""
    position, kind = change["_id"]["_data"], _KINDS[change["operationType"]]
    if tweet is None:
        deleted = DeletedTweet(id=str(change["documentKey"]["_id"]))
        return StreamEvent(position, kind, message(kind, deleted.model_dump_json(), position))
    document = change["fullDocument"]
    text = message(kind, tweet.model_dump_json(), position)
    return StreamEvent(position, kind, text, document["author_id"], frozenset(document.get("tags", ())))


def id_field(position: str) -> bytes:
    """A message with only an id sets the place to resume, and is no event."""
    return f"id: {position}\n".encode()
