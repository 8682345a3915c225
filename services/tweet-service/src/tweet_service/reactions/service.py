"""Rules of likes and reposts. Each is counted in the transaction that creates it, so counts are exact."""

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from bson import ObjectId

from service_kit.schemas import Page
from service_kit.tokens import AccessToken
from tweet_service.database import Transactions
from tweet_service.limits.fair_semaphore import FairLocks
from tweet_service.pagination import Position
from tweet_service.profiles.schemas import Author
from tweet_service.profiles.service import ProfileService
from tweet_service.reactions.repository import Like, LikeRepository
from tweet_service.reactions.schemas import OwnReactions
from tweet_service.times import now_in_milliseconds
from tweet_service.tweets.models import TweetDocument
from tweet_service.tweets.presentation import TweetPresenter
from tweet_service.tweets.problems import TweetNotFound
from tweet_service.tweets.repository import Counted, TweetRepository, reposts_of
from tweet_service.tweets.schemas import Tweet
from tweet_service.tweets.service import new_tweet

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from motor.motor_asyncio import AsyncIOMotorClientSession

    Write = Callable[[AsyncIOMotorClientSession], Awaitable[bool]]


def repost_id(tweet_id: ObjectId, user_id: str) -> ObjectId:
    """The id of a user's repost of a tweet, so that there can't be two."""
    return ObjectId(hashlib.sha256(tweet_id.binary + user_id.encode()).digest()[:12])


class ReactionService:
    def __init__(
        self,
        *,
        likes: LikeRepository,
        tweets: TweetRepository,
        profiles: ProfileService,
        presenter: TweetPresenter,
        transactions: Transactions,
        locks: FairLocks,
    ) -> None:
        self._likes = likes
        self._tweets = tweets
        self._profiles = profiles
        self._presenter = presenter
        self._transactions = transactions
        self._locks = locks

    async def like(self, tweet_id: ObjectId, caller: AccessToken) -> Tweet:
        """Raises `TweetNotFound`."""
        tweet, now = await self._original(tweet_id), now_in_milliseconds()
        original = tweet["_id"]
        await self._write_and_count(
            original, caller, "likes", 1, lambda s: self._likes.create(original, caller.sub, now, s)
        )
        return await self._presenter.present_one(tweet, caller)

    async def unlike(self, tweet_id: ObjectId, caller: AccessToken) -> None:
        """Raises `TweetNotFound`."""
        original = (await self._original(tweet_id))["_id"]
        await self._write_and_count(
            original, caller, "likes", -1, lambda s: self._likes.delete(original, caller.sub, s)
        )

    async def repost(self, tweet_id: ObjectId, caller: AccessToken) -> Tweet:
        """The repost. Raises `TweetNotFound`."""
        original = (await self._original(tweet_id))["_id"]
        repost = new_tweet(caller.sub, "", tweet_id=repost_id(original, caller.sub), repost_of=original)
        await self._write_and_count(original, caller, "reposts", 1, lambda s: self._tweets.create_once(repost, s))
        stored = await self._tweets.get_by_id(repost["_id"])
        return await self._presenter.present_one(stored or repost, caller)

    async def take_repost_back(self, tweet_id: ObjectId, caller: AccessToken) -> None:
        """Raises `TweetNotFound`."""
        original = (await self._original(tweet_id))["_id"]
        repost = repost_id(original, caller.sub)
        await self._write_and_count(original, caller, "reposts", -1, lambda s: self._tweets.delete(repost, s))

    async def liked_by(
        self, tweet_id: ObjectId, *, before: tuple[datetime, str] | None, limit: int, caller: AccessToken | None
    ) -> Page[Author]:
        """Users who like a tweet, newest first, without deleted ones. Raises `TweetNotFound`."""
        original = (await self._original(tweet_id))["_id"]

        async def read(after: tuple[datetime, str] | None, most: int) -> Sequence[Like]:
            return await self._likes.newest_query(original, after, most).to_list(most)

        def listed(like: Like) -> tuple[str, tuple[datetime, str]]:
            return like["_id"]["user_id"], (like["created_at"], like["_id"]["user_id"])

        return await self._profiles.page_of_authors(read, listed, before=before, limit=limit, caller=caller)

    async def reposted_by(
        self, tweet_id: ObjectId, *, before: Position | None, limit: int, caller: AccessToken | None
    ) -> Page[Author]:
        """Users who repost a tweet, newest first, without deleted ones. Raises `TweetNotFound`."""
        original = (await self._original(tweet_id))["_id"]

        async def read(after: Position | None, most: int) -> Sequence[TweetDocument]:
            return await self._tweets.newest(reposts_of(original), before=after, limit=most)

        def listed(repost: TweetDocument) -> tuple[str, Position]:
            return repost["author_id"], (repost["created_at"], repost["_id"])

        return await self._profiles.page_of_authors(read, listed, before=before, limit=limit, caller=caller)

    async def own(self, tweet_ids: Sequence[ObjectId], caller: AccessToken) -> OwnReactions:
        """The tweets among these that the caller likes and has reposted, in the given order."""
        reposts = {tweet_id: repost_id(tweet_id, caller.sub) for tweet_id in tweet_ids}
        liked, reposted = await asyncio.gather(
            self._likes.liked_by(caller.sub, tweet_ids), self._tweets.existing(reposts.values())
        )
        return OwnReactions(
            likes=[str(tweet_id) for tweet_id in reposts if tweet_id in liked],
            reposts=[str(tweet_id) for tweet_id, repost in reposts.items() if repost in reposted],
        )

    async def _write_and_count(
        self, tweet_id: ObjectId, caller: AccessToken, what: Counted, by: Literal[1, -1], write: "Write"
    ) -> None:
        """Write, and change the count if the write changed anything."""

        async def work(session: "AsyncIOMotorClientSession") -> None:
            if await write(session):
                await self._tweets.count(tweet_id, what, by, session)

        # One at a time: conflicting transactions would be rolled back and retried, most of them many times. One caller
        # with many requests does not delay the others.
        async with self._locks.hold(tweet_id, caller.sub):
            await self._transactions.run(work)

    async def _original(self, tweet_id: ObjectId) -> TweetDocument:
        """The tweet; for a repost the reposted one, because reactions to a repost concern that."""
        tweet = await self._tweets.get_by_id(tweet_id)
        if tweet is not None and tweet["repost_of"] is not None:
            tweet = await self._tweets.get_by_id(tweet["repost_of"])
        if tweet is None:
            raise TweetNotFound
        return tweet
