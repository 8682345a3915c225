"""Searches with a bounded cost.

Tweets with all words are found by the rarest of them, or, if all are common, among the newest tweets. So a search reads
at most `MAX_CANDIDATES` tweets for each word, or `MAX_WALK` in the order of time.
"""

from collections.abc import Sequence

import pymongo
from cachetools import TTLCache
from pymongo.errors import PyMongoError

from tweet_service.limits.costly import CostlyReads
from tweet_service.pagination import Position
from tweet_service.timelines.problems import SearchTimeout
from tweet_service.timelines.words import Query
from tweet_service.tweets.models import TweetDocument
from tweet_service.tweets.repository import TweetRepository

MAX_CANDIDATES = 2000
MAX_WALK = 5000
SEARCH_SECONDS = 1.0
_FREQUENCIES = 10_000
_FREQUENCY_SECONDS = 60


class TweetSearch:
    def __init__(self, tweets: TweetRepository, costly: CostlyReads) -> None:
        self._tweets = tweets
        self._costly = costly
        # The number of tweets with a word, up to `MAX_CANDIDATES`.
        self._frequencies: TTLCache[str, int] = TTLCache(_FREQUENCIES, _FREQUENCY_SECONDS)

    async def find(
        self, query: Query, *, client: str, before: Position | None, limit: int
    ) -> tuple[Sequence[TweetDocument], Position | None]:
        """At most `limit` tweets, newest first, and where the search ended early: None if there is nothing after them.

        `client` is the network that asks. Raises `SearchTimeout`, and `ServiceUnavailable` if it gets no turn.
        """
        async with self._costly.turn(client):
            try:
                # Only these queries: others are shared with requests that have no such deadline.
                with pymongo.timeout(SEARCH_SECONDS):
                    return await self._find(query, before, limit)
            except PyMongoError as error:
                if error.timeout:
                    raise SearchTimeout from error
                raise

    async def _find(
        self, query: Query, before: Position | None, limit: int
    ) -> tuple[Sequence[TweetDocument], Position | None]:
        filters = [{"text": {"$regex": each, "$options": "i"}} for each in query.patterns]
        rarest = await self._rarest(query.words)
        if rarest is not None:
            wanted = {"$text": containing(rarest), "$and": filters}
            return await self._tweets.newest(wanted, before=before, limit=limit), None
        end = await self._tweets.position_after(before, MAX_WALK)
        return await self._tweets.walk(filters, before=before, end=end, limit=limit), end

    async def _rarest(self, words: Sequence[str]) -> str | None:
        """The word that the fewest tweets have. None if each is in `MAX_CANDIDATES` or more."""
        rarest, fewest = None, MAX_CANDIDATES
        for word in words:
            if word not in self._frequencies:
                self._frequencies[word] = await self._tweets.count_with_word(containing(word), MAX_CANDIDATES)
            if self._frequencies[word] < fewest:
                rarest, fewest = word, self._frequencies[word]
        return rarest


def containing(word: str) -> dict[str, str]:
    """A text search for one word. Without quotes `-word` would exclude it."""
    return {"$search": f'"{word}"'}
