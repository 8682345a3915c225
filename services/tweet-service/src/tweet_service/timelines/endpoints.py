"""`/v1/timeline`, `/v1/search`, `/v1/trends` and threads over HTTP."""

from datetime import timedelta
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request, Response

from service_kit.client_address import client_network
from service_kit.openapi import TOKEN_IS_OPTIONAL
from service_kit.pagination import InvalidCursor
from service_kit.problems import ValidationFailed, problem_responses
from service_kit.schemas import Page
from tweet_service.dependencies import (
    CALLER_PROBLEMS,
    PUBLIC_PROBLEMS,
    Caller,
    OptionalCaller,
    SearchingCaller,
    ServicesDep,
    services_of,
)
from tweet_service.headers import cache_control
from tweet_service.pagination import PageSize, TweetPositionDep, finish_page, page_responses, set_page_headers
from tweet_service.timelines.problems import SearchTimeout
from tweet_service.timelines.schemas import Thread, Trends
from tweet_service.timelines.words import MAX_PARTS
from tweet_service.tweets.endpoints import TweetIdOfPath
from tweet_service.tweets.problems import TweetNotFound
from tweet_service.tweets.schemas import Tweet
from tweet_service.tweets.text import MAX_CODE_POINTS

router = APIRouter(prefix="/v1", tags=["timelines"])

Window = Literal["1h", "6h", "24h", "7d"]
_WINDOWS: dict[Window, timedelta] = {
    "1h": timedelta(hours=1),
    "6h": timedelta(hours=6),
    "24h": timedelta(hours=24),
    "7d": timedelta(days=7),
}
_TRENDS_CACHED = "public, max-age=30"


@router.get(
    "/timeline",
    summary="Read the home timeline: tweets of followed users and your own",
    responses={
        **page_responses("read_home_timeline"),
        **problem_responses(*CALLER_PROBLEMS, ValidationFailed, InvalidCursor),
    },
)
async def read_home_timeline(
    *,
    caller: Caller,
    request: Request,
    response: Response,
    before: TweetPositionDep,
    limit: PageSize = 20,
) -> Page[Tweet]:
    return finish_page(await services_of(request).timelines.home(caller, before=before, limit=limit), request, response)


@router.get(
    "/search",
    summary="Search tweets with all words, newest first",
    responses={
        **page_responses("search", "query.q"),
        **problem_responses(*PUBLIC_PROBLEMS, ValidationFailed, InvalidCursor, SearchTimeout),
    },
    openapi_extra=TOKEN_IS_OPTIONAL,
)
async def search(
    *,
    q: Annotated[
        str,
        Query(
            min_length=1,
            max_length=MAX_CODE_POINTS,
            examples=["tandem"],
            description=f'Words, or `"phrases in quotes"`, at most {MAX_PARTS}.',
        ),
    ],
    caller: SearchingCaller,
    services: ServicesDep,
    request: Request,
    response: Response,
    before: TweetPositionDep,
    limit: PageSize = 20,
) -> Page[Tweet]:
    """A search for common words reads only some thousand tweets at a time: a page may be short, or empty, as long as
    `next_cursor` is not null. A search counts as 20 reads in the rate limit."""
    page = await services.timelines.search(q, before=before, limit=limit, caller=caller, client=client_network(request))
    return finish_page(page, request, response)


@router.get(
    "/trends",
    summary="Read the most used hashtags of a window of time",
    responses={
        200: {"headers": {"Cache-Control": cache_control(_TRENDS_CACHED)}},
        **problem_responses(*PUBLIC_PROBLEMS, ValidationFailed),
    },
    openapi_extra=TOKEN_IS_OPTIONAL,
)
async def read_trends(
    _caller: OptionalCaller, services: ServicesDep, request: Request, response: Response, window: Window = "24h"
) -> Trends:
    response.headers["Cache-Control"] = _TRENDS_CACHED
    span = _WINDOWS[window]
    items = await services.timelines.trends(span, client_network(request))
    return Trends(window_seconds=int(span.total_seconds()), items=items)


@router.get(
    "/tweets/{tweet_id}/thread",
    summary="Read the thread of a tweet",
    responses={
        **page_responses("read_thread", "path.tweet_id"),
        **problem_responses(*PUBLIC_PROBLEMS, TweetNotFound, ValidationFailed, InvalidCursor),
    },
    openapi_extra=TOKEN_IS_OPTIONAL,
)
async def read_thread(
    *,
    tweet_id: TweetIdOfPath,
    caller: OptionalCaller,
    services: ServicesDep,
    request: Request,
    response: Response,
    after: TweetPositionDep,
    limit: PageSize = 100,
) -> Thread:
    """The tweets that it replies to, and the replies. A deleted tweet leaves a gap."""
    thread = await services.timelines.thread(tweet_id, after=after, limit=limit, caller=caller)
    set_page_headers(request, response, thread.next_cursor)
    return thread
