"""Idempotent posting: one transaction stores the key and the tweet."""

import hashlib
from typing import TYPE_CHECKING

from pymongo.errors import DuplicateKeyError

from service_kit.tokens import AccessToken
from tweet_service.database import Transactions
from tweet_service.idempotency.repository import LIFETIME, IdempotencyRepository, KeyDocument
from tweet_service.times import now_in_milliseconds
from tweet_service.tweets.presentation import TweetPresenter
from tweet_service.tweets.problems import IdempotencyKeyReused, TweetNotFound
from tweet_service.tweets.repository import TweetRepository
from tweet_service.tweets.schemas import NewTweet, Tweet
from tweet_service.tweets.service import TweetService

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

    async def post(self, new: NewTweet, caller: AccessToken, key: str) -> Tweet:
        """Post a tweet, or return the one that the same request has posted within a day.

        Raises `IdempotencyKeyReused`, `ReferencedTweetNotFound`; `TweetNotFound` if it was deleted meanwhile.
        """
        key_digest = _digest(caller.sub, key)
        request = _digest(new.model_dump_json())
        if known := await self._known(key_digest):
            return await self._stored_tweet(known, request, caller)
        tweet = await self._posting.compose(new, caller)
        document = KeyDocument(_id=key_digest, request=request, tweet_id=tweet["_id"], created_at=now_in_milliseconds())

        async def work(session: "AsyncIOMotorClientSession") -> None:
            await self._keys.create(document, session)
            await self._posting.store(tweet, session)

        try:
            await self._transactions.run(work)
        except DuplicateKeyError:
            # A concurrent request has stored the key.
            stored = await self._known(key_digest)
            if stored is None:
                raise
            return await self._stored_tweet(stored, request, caller)
        return await self._presenter.present_new(tweet, caller)

    async def _known(self, key: bytes) -> KeyDocument | None:
        """The stored key. It is checked for its lifetime, because MongoDB deletes up to a minute late."""
        known = await self._keys.get(key)
        if known is not None and known["created_at"] + LIFETIME <= now_in_milliseconds():
            await self._keys.delete(key)
            return None
        return known

    async def _stored_tweet(self, known: KeyDocument, request: bytes, caller: AccessToken) -> Tweet:
        if known["request"] != request:
            raise IdempotencyKeyReused
        tweet = await self._tweets.get_by_id(known["tweet_id"])
        if tweet is None:
            raise TweetNotFound
        return await self._presenter.present_one(tweet, caller)


def _digest(*parts: str) -> bytes:
    return hashlib.sha256("\0".join(parts).encode()).digest()
