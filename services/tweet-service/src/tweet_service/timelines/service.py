"""Rules of timelines, searches, threads and trends."""

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from itertools import chain, zip_longest
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

# A home timeline is merged from one index range per author. Beyond the limit the latest followees count.
MAX_FOLLOWEES = 1000
# Of a page of a thread. A hundred replies could have 9,900 deleted tweets above them.
MAX_GAPS = 200
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
        found = await self._tweets.newest_of_authors(authors, before=before, limit=limit + 1)
        return await self._tweet_service.page_of(found, limit=limit, caller=caller)

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
        above = _above(tweet_id, shown)
        deleted = above - await self._tweets.existing(above) if above else above
        whole = [tweet, *ancestors.values(), *shown]
        presented = {ObjectId(each.id): each for each in await self._presenter.present(whole, caller)}
        return Thread(
            tweet=presented[tweet_id],
            ancestors=_chain(ancestor_ids, presented),
            descendants=_with_gaps(tweet_id, shown, presented, deleted),
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


def _path(top: ObjectId, reply: TweetDocument) -> list[ObjectId]:
    """The tweets between `top` and a reply below it."""
    ancestors = reply["ancestors"]
    return ancestors[ancestors.index(top) + 1 :]


def _above(top: ObjectId, replies: list[TweetDocument]) -> set[ObjectId]:
    """Tweets between `top` and the replies that are not on the page: at most `MAX_GAPS`, the nearest of each reply."""
    on_page = {reply["_id"] for reply in replies}
    above: set[ObjectId] = set()
    paths = (reversed(_path(top, reply)) for reply in replies)
    for each in chain.from_iterable(zip_longest(*paths)):
        if len(above) == MAX_GAPS:
            break
        if each is not None and each not in on_page:
            above.add(each)
    return above


def _with_gaps(
    top: ObjectId, documents: list[TweetDocument], presented: dict[ObjectId, Tweet], deleted: set[ObjectId]
) -> list[ThreadTweet]:
    """The replies, with a gap before the first reply to a tweet of `deleted`."""
    places: list[ThreadTweet] = []
    gaps = set(deleted)
    for document in documents:
        below = _path(top, document)
        for parent, missing in zip([top, *below], below, strict=False):
            if missing in gaps:
                gaps.remove(missing)
                places.append(ThreadTweet(id=str(missing), reply_to=str(parent), tweet=None))
        parent_id = str(document["reply_to"])
        places.append(ThreadTweet(id=str(document["_id"]), reply_to=parent_id, tweet=presented[document["_id"]]))
    return places
