"""The rules of tweets."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated

from bson import ObjectId
from fastapi import Depends

from service_kit.pagination import InvalidCursor, decode_cursor, encode_cursor
from service_kit.tokens import AccessToken
from tweet_service.authentication import ADMIN
from tweet_service.profiles.service import ProfileService, ProfileServiceDep
from tweet_service.tweets.entities import extract
from tweet_service.tweets.etags import allows_edit_of
from tweet_service.tweets.models import TweetDocument
from tweet_service.tweets.problems import (
    NotTheAuthor,
    ReferencedTweetNotFound,
    StaleVersion,
    TweetNotFound,
)
from tweet_service.tweets.repository import Position, TweetRepository, TweetRepositoryDep
from tweet_service.tweets.schemas import Counts, NewTweet, Tweet, TweetEdit

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


@dataclass(frozen=True)
class TweetPage:
    tweets: list[Tweet]
    next_cursor: str | None


class TweetService:
    def __init__(self, tweets: TweetRepository, profiles: ProfileService) -> None:
        self._tweets = tweets
        self._profiles = profiles

    async def post(self, new: NewTweet, author: AccessToken) -> Tweet:
        """Raises `ReferencedTweetNotFound`."""
        reply_to, quote_of = _object_id(new.reply_to), _object_id(new.quote_of)
        await self._require_existing({"reply_to": reply_to, "quote_of": quote_of})
        tweet = TweetDocument(
            _id=ObjectId(),
            text=new.text,
            author_id=author.sub,
            created_at=_now(),
            edited_at=None,
            version=1,
            reply_to=reply_to,
            repost_of=None,
            quote_of=quote_of,
            entities=extract(new.text),
            lang=None,
            source=None,
            edits=[],
        )
        await self._tweets.create(tweet)
        return await self._present_one(tweet, author)

    async def read(self, tweet_id: ObjectId, caller: AccessToken | None) -> Tweet:
        """Raises `TweetNotFound`."""
        return await self._present_one(await self._get(tweet_id), caller)

    async def edit(self, tweet_id: ObjectId, edit: TweetEdit, if_match: str, author: AccessToken) -> Tweet:
        """Raises `TweetNotFound`, `NotTheAuthor`, `StaleVersion`."""
        tweet = await self._get(tweet_id)
        if tweet["author_id"] != author.sub:
            raise NotTheAuthor
        if not allows_edit_of(if_match, tweet["version"]):
            raise StaleVersion
        edited = await self._tweets.edit(tweet, text=edit.text, entities=extract(edit.text), edited_at=_now())
        if edited is None:
            raise StaleVersion
        return await self._present_one(edited, author)

    async def delete(self, tweet_id: ObjectId, caller: AccessToken) -> None:
        """Raises `TweetNotFound`, `NotTheAuthor`."""
        author_id = None if caller.role == ADMIN else caller.sub
        if not await self._tweets.delete(tweet_id, author_id=author_id):
            await self._get(tweet_id)
            raise NotTheAuthor

    async def newest(
        self, *, author: str | None, cursor: str | None, limit: int, caller: AccessToken | None
    ) -> TweetPage:
        """Newest first. Raises `InvalidCursor`. Nobody of that name has written nothing."""
        before = None if cursor is None else _position(cursor)
        author_id = None
        if author is not None:
            author_id = await self._profiles.id_of(author, caller)
            if author_id is None:
                return TweetPage(tweets=[], next_cursor=None)
        # One more than asked for tells whether there is a next page.
        found = await self._tweets.newest(author_id=author_id, before=before, limit=limit + 1)
        shown = found[:limit]
        next_cursor = _cursor(shown[-1]) if len(found) > limit else None
        return TweetPage(tweets=await self._present(shown, caller), next_cursor=next_cursor)

    async def _get(self, tweet_id: ObjectId) -> TweetDocument:
        tweet = await self._tweets.get_by_id(tweet_id)
        if tweet is None:
            raise TweetNotFound
        return tweet

    async def _require_existing(self, references: dict[str, ObjectId | None]) -> None:
        wanted = {tweet_id for tweet_id in references.values() if tweet_id is not None}
        missing = wanted - await self._tweets.existing(wanted) if wanted else set()
        if missing:
            raise ReferencedTweetNotFound(field for field, wants in references.items() if wants in missing)

    async def _present_one(self, tweet: TweetDocument, caller: AccessToken | None) -> Tweet:
        (presented,) = await self._present([tweet], caller)
        return presented

    async def _present(self, tweets: Sequence[TweetDocument], caller: AccessToken | None) -> list[Tweet]:
        """Join authors and counts: two queries, however many tweets there are."""
        if not tweets:
            return []
        authors = await self._profiles.authors({tweet["author_id"] for tweet in tweets}, caller)
        replies = await self._tweets.count_replies([tweet["_id"] for tweet in tweets])
        return [
            Tweet.model_validate(
                {
                    **tweet,
                    "id": tweet["_id"],
                    "author": authors[tweet["author_id"]],
                    "author_deleted": authors[tweet["author_id"]] is None,
                    "counts": Counts(replies=replies.get(tweet["_id"], 0)),
                }
            )
            for tweet in tweets
        ]


def _now() -> datetime:
    """MongoDB keeps milliseconds: cut here, so that the first answer is the same as every later one."""
    now = datetime.now(UTC)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)


def _object_id(reference: str | None) -> ObjectId | None:
    return None if reference is None else ObjectId(reference)


def _cursor(tweet: TweetDocument) -> str:
    return encode_cursor((tweet["created_at"] - _EPOCH) // _MILLISECOND, str(tweet["_id"]))


def _position(cursor: str) -> Position:
    milliseconds, tweet_id = decode_cursor(cursor, int, str)
    try:
        moment = _EPOCH + milliseconds * _MILLISECOND
    except OverflowError as error:
        raise InvalidCursor from error
    if not ObjectId.is_valid(tweet_id):
        raise InvalidCursor
    return moment, ObjectId(tweet_id)


async def tweet_service(tweets: TweetRepositoryDep, profiles: ProfileServiceDep) -> TweetService:
    return TweetService(tweets, profiles)


TweetServiceDep = Annotated[TweetService, Depends(tweet_service)]
