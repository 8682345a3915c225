"""The filter of a subscriber."""

from typing import Any

from bson import ObjectId

from tweet_service.stream.events import StreamEvent, StreamFilter


def event(number: int, **of: Any) -> StreamEvent:
    return StreamEvent(f"82{number:016X}", of.pop("kind", "tweet"), b"", **of)


def test_filter_matches_author_and_tag() -> None:
    ada = event(1, author_id="ada", tags=frozenset({"x", "y"}))
    gone = event(2, kind="delete")
    assert StreamFilter().matches(ada)
    assert StreamFilter("ada", "x").matches(ada)
    assert not StreamFilter("bob", "x").matches(ada)
    assert not StreamFilter("ada", "z").matches(ada)
    assert StreamFilter("bob", "z").matches(gone)
    change = {"operationType": "delete", "documentKey": {"_id": ObjectId()}}
    assert StreamFilter("bob", "z").matches_change(change)
    assert not StreamFilter("bob").matches_change({"operationType": "update", "fullDocument": None})
