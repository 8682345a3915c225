"""Tweets in responses: joined with authors and counts, in a fixed number of queries for any number of tweets."""

import asyncio
from collections.abc import Sequence

from service_kit.tokens import AccessToken
from tweet_service.profiles.schemas import Author
from tweet_service.profiles.service import ProfileService
from tweet_service.tweets.models import CountsDocument, TweetDocument
from tweet_service.tweets.repository import TweetRepository
from tweet_service.tweets.schemas import Tweet


class TweetPresenter:
    def __init__(self, tweets: TweetRepository, profiles: ProfileService) -> None:
        self._tweets = tweets
        self._profiles = profiles

    async def present_one(self, tweet: TweetDocument, caller: AccessToken | None) -> Tweet:
        (presented,) = await self.present([tweet], caller)
        return presented

    async def present(self, tweets: Sequence[TweetDocument], caller: AccessToken | None) -> list[Tweet]:
        """In the same order. Names of the caller come from the token until the user has arrived in the copy."""
        if not tweets:
            return []
        authors, counts = await asyncio.gather(
            self._profiles.authors({tweet["author_id"] for tweet in tweets}, caller),
            self._tweets.get_counts([tweet["_id"] for tweet in tweets]),
        )
        return [_presented(tweet, authors[tweet["author_id"]], counts.get(tweet["_id"])) for tweet in tweets]

    async def present_new(self, tweet: TweetDocument, caller: AccessToken) -> Tweet:
        """A tweet that has just been stored, so that it has no counts yet."""
        authors = await self._profiles.authors([tweet["author_id"]], caller)
        return _presented(tweet, authors[tweet["author_id"]], None)


def _presented(tweet: TweetDocument, author: Author | None, counts: CountsDocument | None) -> Tweet:
    return Tweet.model_validate(
        {
            **tweet,
            "id": tweet["_id"],
            "author": author,
            "author_deleted": author is None,
            "counts": counts or {},
        }
    )
