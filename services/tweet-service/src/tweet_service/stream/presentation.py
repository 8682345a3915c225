"""Change events as what is sent: presented and written once, however many listen."""

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
        """In the same order. A tweet that is gone by now was not changed but deleted, of which there is an event."""
        if not changes:
            return []
        try:
            return await self._events(changes)
        except PyMongoError:
            raise
        except Exception:
            if len(changes) == 1:
                # A document that is no tweet, written by somebody else: those behind it are.
                log.exception("a change can't be shown and is left out", position=changes[0]["_id"]["_data"])
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
