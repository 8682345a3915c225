"""Turns change events into events of the stream, once for all subscribers."""

from collections.abc import Sequence
from typing import cast

import structlog
from pymongo.errors import PyMongoError

from tweet_service.stream.events import StreamEvent, event_of
from tweet_service.stream.repository import Change
from tweet_service.tweets.models import TweetDocument
from tweet_service.tweets.presentation import TweetPresenter

log = structlog.get_logger(__name__)


class EventPresenter:
    def __init__(self, tweets: TweetPresenter) -> None:
        self._tweets = tweets

    async def events(self, changes: Sequence[Change]) -> list[StreamEvent]:
        """In the same order. A change of a tweet that is deleted by now is left out: its deletion follows."""
        if not changes:
            return []
        try:
            return await self._events(changes)
        except PyMongoError:
            raise
        except Exception:
            if len(changes) == 1:
                # A document that is not a tweet, from another program. Later changes are not affected.
                log.exception("skipping a change that is not a valid tweet", position=changes[0]["_id"]["_data"])
                return []
        return [event for change in changes for event in await self.events([change])]

    async def _events(self, changes: Sequence[Change]) -> list[StreamEvent]:
        shown = [change for change in changes if _document(change) is not None]
        tweets = await self._tweets.present([cast("TweetDocument", _document(change)) for change in shown], None)
        by_position = {change["_id"]["_data"]: tweet for change, tweet in zip(shown, tweets, strict=True)}
        return [
            event_of(change, by_position.get(change["_id"]["_data"]))
            for change in changes
            if change["operationType"] == "delete" or change["_id"]["_data"] in by_position
        ]


def _document(change: Change) -> TweetDocument | None:
    return cast("TweetDocument | None", change.get("fullDocument"))
