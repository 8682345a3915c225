"""Rules of timelines, searches, threads and trends."""

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import cast

from bson import ObjectId

from service_kit.pagination import split_page
from service_kit.problems import FieldError, ValidationFailed
from service_kit.schemas import Page
from service_kit.tokens import AccessToken
from tweet_service.follows.repository import FollowRepository
from tweet_service.limits.costly import CostlyCache, CostlyReads
from tweet_service.pagination import Position, cursor_after
from tweet_service.timelines.schemas import Thread, ThreadTweet, Trend
from tweet_service.timelines.search import TweetSearch
from tweet_service.timelines.words import MAX_PARTS, parse
from tweet_service.times import now_in_milliseconds
from tweet_service.tweets.models import TweetDocument
from tweet_service.tweets.presentation import TweetPresenter
from tweet_service.tweets.problems import TweetNotFound
from tweet_service.tweets.repository import TweetRepository
from tweet_service.tweets.schemas import Tweet
from tweet_service.tweets.service import TweetService

# MongoDB merges a home timeline from one index range per author. Beyond the limit the latest followees count.
MAX_FOLLOWEES = 1000
TRENDS_SHOWN = 20
TRENDS_SECONDS = 30
# More than there are windows.
_CACHED_TRENDS = 10


class TimelineService:
    def __init__(
        self,
        *,
        tweets: TweetRepository,
        follows: FollowRepository,
        presenter: TweetPresenter,
        tweet_service: TweetService,
        costly: CostlyReads,
        clock: Callable[[], float],
    ) -> None:
        self._tweets = tweets
        self._follows = follows
        self._presenter = presenter
        self._tweet_service = tweet_service
        self._search = TweetSearch(tweets, costly)
        self._trends: CostlyCache[timedelta, list[Trend]] = CostlyCache(
            costly, size=_CACHED_TRENDS, seconds=TRENDS_SECONDS, clock=clock
        )

    async def home(self, caller: AccessToken, *, before: Position | None, limit: int) -> Page[Tweet]:
        """Tweets of the caller and of followed users."""
        authors = [caller.sub, *await self._follows.followees(caller.sub, MAX_FOLLOWEES)]
        wanted = {"author_id": {"$in": authors}}
        return await self._tweet_service.list_newest(wanted, before=before, limit=limit, caller=caller)

    async def search(
        self, words: str, *, before: Position | None, limit: int, caller: AccessToken | None, client: str
    ) -> Page[Tweet]:
        """Tweets with all words, newest first; `"words in quotes"` are a phrase.

        A page may be short, or empty, although there is a next one. `client` is the network that asks. Raises
        `SearchTimeout`, `ValidationFailed` and `ServiceUnavailable`.
        """
        query = parse(words)
        if len(query.parts) > MAX_PARTS:
            error = FieldError(detail=f"At most {MAX_PARTS} words and phrases", code="too-many-words", parameter="q")
            raise ValidationFailed(f"q: {error.detail}", errors=[error])
        if not query.words:
            return Page(items=[], next_cursor=None)
        found, end = await self._search.find(query, client=client, before=before, limit=limit + 1)
        return await self._tweet_service.page_of(found, limit=limit, caller=caller, end=end)

    async def thread(
        self, tweet_id: ObjectId, *, after: Position | None, limit: int, caller: AccessToken | None
    ) -> Thread:
        """The thread of a tweet. Raises `TweetNotFound`."""
        tweet = await self._tweets.get_by_id(tweet_id)
        if tweet is None:
            raise TweetNotFound
        ancestor_ids = tweet["ancestors"]
        ancestors = await self._tweets.get_many_shown(ancestor_ids) if ancestor_ids else {}
        found = await self._tweets.descendants_query(tweet_id, after=after, limit=limit + 1).to_list(limit + 1)
        shown, has_more = split_page(cast("list[TweetDocument]", found), limit)
        above = {ancestor for reply in shown for ancestor in reply["ancestors"]} - {reply["_id"] for reply in shown}
        existing = await self._tweets.existing(above) if above else set()
        whole = [tweet, *ancestors.values(), *shown]
        presented = {ObjectId(each.id): each for each in await self._presenter.present(whole, caller)}
        return Thread(
            tweet=presented[tweet_id],
            ancestors=_chain(ancestor_ids, presented),
            descendants=_with_gaps(tweet_id, shown, presented, existing),
            next_cursor=cursor_after(shown[-1]["created_at"], str(shown[-1]["_id"])) if has_more else None,
        )

    async def trends(self, window: timedelta, client: str) -> list[Trend]:
        """The most used hashtags, `TRENDS_SECONDS` old at most unless there is no turn for a new read.

        `client` is the network that asks. Raises `ServiceUnavailable`.
        """
        return await self._trends.get(window, client, partial(self._read_trends, window))

    async def _read_trends(self, window: timedelta) -> list[Trend]:
        counts = await self._tweets.tag_counts(now_in_milliseconds() - window, TRENDS_SHOWN)
        return [Trend(hashtag=tag, tweets=tweets) for tag, tweets in counts]


def _chain(ids: list[ObjectId], presented: dict[ObjectId, Tweet]) -> list[ThreadTweet]:
    """The places above a tweet, each with its parent."""
    before = [None, *ids]
    return [
        ThreadTweet(id=str(each), reply_to=None if parent is None else str(parent), tweet=presented.get(each))
        for parent, each in zip(before, ids, strict=False)
    ]


def _with_gaps(
    top: ObjectId, documents: list[TweetDocument], presented: dict[ObjectId, Tweet], existing: set[ObjectId]
) -> list[ThreadTweet]:
    """The replies, with a gap before the first reply to a deleted tweet.

    `existing` are tweets on other pages.
    """
    places: list[ThreadTweet] = []
    known = {top, *existing, *(document["_id"] for document in documents)}
    for document in documents:
        path = document["ancestors"]
        below = path[path.index(top) + 1 :]
        for parent, missing in zip([top, *below], below, strict=False):
            if missing not in known:
                known.add(missing)
                places.append(ThreadTweet(id=str(missing), reply_to=str(parent), tweet=None))
        parent_id = str(document["reply_to"])
        places.append(ThreadTweet(id=str(document["_id"]), reply_to=parent_id, tweet=presented[document["_id"]]))
    return places
