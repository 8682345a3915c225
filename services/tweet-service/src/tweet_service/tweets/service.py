"""Rules of tweets."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

from bson import ObjectId

from service_kit.pagination import split_page
from service_kit.roles import Scope
from service_kit.schemas import Page
from service_kit.tokens import AccessToken
from tweet_service.database import Transactions
from tweet_service.pagination import Position, cursor_after
from tweet_service.profiles.service import ProfileService
from tweet_service.times import now_in_milliseconds
from tweet_service.tweets.entities import extract, searched, tags_of
from tweet_service.tweets.etags import allows_edit_of
from tweet_service.tweets.models import MAX_ANCESTORS, TweetDocument
from tweet_service.tweets.presentation import TweetPresenter
from tweet_service.tweets.problems import (
    NotTheAuthor,
    ReferencedTweetNotFound,
    StaleVersion,
    TweetNotFound,
)
from tweet_service.tweets.repository import ALWAYS, Span, TweetRepository, tagged
from tweet_service.tweets.schemas import NewTweet, Tweet, TweetEdit

if TYPE_CHECKING:
    from motor.motor_asyncio import AsyncIOMotorClientSession


def new_tweet(
    author_id: str,
    text: str,
    *,
    tweet_id: ObjectId | None = None,
    reply_to: TweetDocument | None = None,
    repost_of: ObjectId | None = None,
    quote_of: ObjectId | None = None,
) -> TweetDocument:
    entities = extract(text)
    ancestors = [] if reply_to is None else [*reply_to.get("ancestors", []), reply_to["_id"]]
    return TweetDocument(
        _id=tweet_id or ObjectId(),
        text=text,
        author_id=author_id,
        created_at=now_in_milliseconds(),
        edited_at=None,
        version=1,
        reply_to=ancestors[-1] if ancestors else None,
        repost_of=repost_of,
        quote_of=quote_of,
        entities=entities,
        tags=tags_of(entities),
        ancestors=ancestors[-MAX_ANCESTORS:],
        lang=None,
        source=None,
        edits=[],
    )


class Likes(Protocol):
    """What deleting a tweet needs of `reactions`, which is built on this package."""

    async def delete_all_of(self, tweet_id: ObjectId) -> None: ...


class TweetService:
    def __init__(
        self,
        tweets: TweetRepository,
        likes: Likes,
        profiles: ProfileService,
        presenter: TweetPresenter,
        transactions: Transactions,
    ) -> None:
        self._tweets = tweets
        self._likes = likes
        self._profiles = profiles
        self._presenter = presenter
        self._transactions = transactions

    async def compose(self, new: NewTweet, caller: AccessToken) -> TweetDocument:
        """Create a tweet without storing it. Raises `ReferencedTweetNotFound`."""
        references = {
            "reply_to": None if new.reply_to is None else ObjectId(new.reply_to),
            "quote_of": None if new.quote_of is None else ObjectId(new.quote_of),
        }
        found = {name: await self._tweets.get_by_id(wanted) for name, wanted in references.items() if wanted}
        if missing := [name for name, tweet in found.items() if tweet is None]:
            raise ReferencedTweetNotFound(missing)
        return new_tweet(caller.sub, new.text, reply_to=found.get("reply_to"), quote_of=references["quote_of"])

    async def post(self, new: NewTweet, caller: AccessToken) -> Tweet:
        """Raises `ReferencedTweetNotFound`."""
        tweet = await self.compose(new, caller)
        if tweet["reply_to"] is None:
            await self._tweets.create(tweet)
        else:
            await self._transactions.run(lambda session: self.store(tweet, session))
        return await self._presenter.present_new(tweet, caller)

    async def store(self, tweet: TweetDocument, session: "AsyncIOMotorClientSession") -> None:
        """Store a tweet, and count it if it is a reply, in the given transaction."""
        await self._tweets.create(tweet, session)
        if tweet["reply_to"] is not None:
            await self._tweets.count(tweet["reply_to"], "replies", 1, session)

    async def read(self, tweet_id: ObjectId, caller: AccessToken | None) -> Tweet:
        """Raises `TweetNotFound`."""
        tweet = await self._tweets.get_shown(tweet_id)
        if tweet is None:
            raise TweetNotFound
        return await self._presenter.present_one(tweet, caller)

    async def edit(self, tweet_id: ObjectId, edit: TweetEdit, if_match: str, caller: AccessToken) -> Tweet:
        """Raises `TweetNotFound`, `NotTheAuthor`, `StaleVersion`. A repost can't be edited."""
        tweet = await self._get(tweet_id)
        if tweet["author_id"] != caller.sub or tweet["repost_of"] is not None:
            raise NotTheAuthor
        if not allows_edit_of(if_match, tweet["version"]):
            raise StaleVersion
        entities, now = extract(edit.text), now_in_milliseconds()
        edited = await self._tweets.edit(
            tweet, text=edit.text, entities=entities, tags=tags_of(entities), edited_at=now
        )
        if edited is None:
            raise StaleVersion
        return await self._presenter.present_one(edited, caller)

    async def delete(self, tweet_id: ObjectId, caller: AccessToken) -> None:
        """Delete a tweet with its reposts and likes. Replies stay. Raises `TweetNotFound`, `NotTheAuthor`."""
        tweet = await self._get(tweet_id)
        if tweet["author_id"] != caller.sub and Scope.TWEETS_MODERATE not in caller.scopes:
            raise NotTheAuthor

        async def work(session: "AsyncIOMotorClientSession") -> None:
            if not await self._tweets.delete(tweet_id, session):
                raise TweetNotFound
            await self._tweets.delete_counts(tweet_id, session)
            if tweet["reply_to"] is not None:
                await self._tweets.count(tweet["reply_to"], "replies", -1, session)
            if tweet["repost_of"] is not None:
                await self._tweets.count(tweet["repost_of"], "reposts", -1, session)

        await self._transactions.run(work)
        # Not in the transaction, because there may be very many. The deleted tweet hides them already.
        await self._tweets.delete_reposts_of(tweet_id)
        await self._likes.delete_all_of(tweet_id)

    async def newest(
        self,
        *,
        author: str | None = None,
        hashtag: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        before: Position | None,
        limit: int,
        caller: AccessToken | None,
    ) -> Page[Tweet]:
        """Newest first. The list is empty if there is no user with the name `author`."""
        wanted: dict[str, Any] = {}
        if author is not None:
            author_id = await self._profiles.id_of(author, caller)
            if author_id is None:
                return Page(items=[], next_cursor=None)
            wanted["author_id"] = author_id
        if hashtag is not None:
            wanted |= tagged(searched(hashtag))
        span = Span(since, until)
        return await self.list_newest(wanted, span=span, before=before, limit=limit, caller=caller)

    async def list_newest(
        self,
        wanted: Mapping[str, Any],
        *,
        before: Position | None,
        span: Span = ALWAYS,
        limit: int,
        caller: AccessToken | None,
    ) -> Page[Tweet]:
        """A page of the tweets that match."""
        found = await self._tweets.newest(wanted, before=before, span=span, limit=limit + 1)
        return await self.page_of(found, limit=limit, caller=caller)

    async def page_of(
        self, found: Sequence[TweetDocument], *, limit: int, caller: AccessToken | None, end: Position | None = None
    ) -> Page[Tweet]:
        """A page of tweets that were found with `limit + 1`. A short page continues after `end`."""
        shown, has_more = split_page(found, limit)
        next_position = (shown[-1]["created_at"], shown[-1]["_id"]) if has_more else end
        next_cursor = None if next_position is None else cursor_after(next_position[0], str(next_position[1]))
        return Page(items=await self._presenter.present(shown, caller), next_cursor=next_cursor)

    async def _get(self, tweet_id: ObjectId) -> TweetDocument:
        tweet = await self._tweets.get_by_id(tweet_id)
        if tweet is None:
            raise TweetNotFound
        return tweet
