"""Rules of idempotent posting: key and tweet are stored in one transaction, so there is never one without the other."""

import hashlib
from typing import TYPE_CHECKING

from pymongo.errors import DuplicateKeyError

from service_kit.tokens import AccessToken
from tweet_service.database import Transactions
from tweet_service.idempotency.problems import IdempotencyKeyReused
from tweet_service.idempotency.repository import LIFETIME, IdempotencyRepository, KeyDocument
from tweet_service.tweets.presentation import TweetPresenter
from tweet_service.tweets.problems import TweetNotFound
from tweet_service.tweets.repository import TweetRepository
from tweet_service.tweets.schemas import NewTweet, Tweet
from tweet_service.tweets.service import TweetService, now_in_milliseconds

if TYPE_CHECKING:
    from motor.motor_asyncio import AsyncIOMotorClientSession


class IdempotentPosting:
    def __init__(
        self,
        keys: IdempotencyRepository,
        tweets: TweetRepository,
        posting: TweetService,
        presenter: TweetPresenter,
        transactions: Transactions,
    ) -> None:
        self._keys = keys
        self._tweets = tweets
        self._posting = posting
        self._presenter = presenter
        self._transactions = transactions

    async def post(self, new: NewTweet, author: AccessToken, key: str) -> Tweet:
        """Post a tweet, or answer the one that the same request has posted within a day.

        Raises `IdempotencyKeyReused`, `ReferencedTweetNotFound`; `TweetNotFound` if it was deleted meanwhile.
        """
        key_digest = _digest(author.sub, key)
        request = _digest(new.model_dump_json())
        if known := await self._known(key_digest):
            return await self._answer(known, request, author)
        tweet = await self._posting.compose(new, author)
        document = KeyDocument(_id=key_digest, request=request, tweet_id=tweet["_id"], created_at=now_in_milliseconds())

        async def work(session: "AsyncIOMotorClientSession") -> None:
            await self._keys.create(document, session)
            await self._posting.store(tweet, session)

        try:
            await self._transactions.run(work)
        except DuplicateKeyError:
            # The same request came at the same time, and was faster.
            faster = await self._known(key_digest)
            if faster is None:
                raise
            return await self._answer(faster, request, author)
        return await self._presenter.present_one(tweet, author)

    async def _known(self, key: bytes) -> KeyDocument | None:
        """What the key has led to. MongoDB may be a minute late in forgetting it."""
        known = await self._keys.get(key)
        if known is not None and known["created_at"] + LIFETIME <= now_in_milliseconds():
            await self._keys.forget(key)
            return None
        return known

    async def _answer(self, known: KeyDocument, request: bytes, author: AccessToken) -> Tweet:
        if known["request"] != request:
            raise IdempotencyKeyReused
        tweet = await self._tweets.get_by_id(known["tweet_id"])
        if tweet is None:
            raise TweetNotFound
        return await self._presenter.present_one(tweet, author)


def _digest(*parts: str) -> bytes:
    return hashlib.sha256("\0".join(parts).encode()).digest()
