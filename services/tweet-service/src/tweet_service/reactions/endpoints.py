"""HTTP of likes and reposts."""

from typing import Annotated, Any

from bson import ObjectId
from fastapi import APIRouter, Query, Request, Response

from service_kit.openapi import TOKEN_IS_OPTIONAL
from service_kit.pagination import InvalidCursor
from service_kit.problems import ValidationFailed, problem_responses
from service_kit.schemas import Page
from tweet_service.dependencies import (
    CALLER_PROBLEMS,
    PUBLIC_PROBLEMS,
    WRITER_PROBLEMS,
    Caller,
    OptionalCaller,
    ServicesDep,
    WritingCaller,
)
from tweet_service.pagination import MAX_PAGE, PageSize, PositionDep, TweetPositionDep, finish_page, page_responses
from tweet_service.profiles.schemas import Author
from tweet_service.reactions.schemas import OwnReactions
from tweet_service.tweets.endpoints import TweetIdOfPath, links_of
from tweet_service.tweets.problems import TweetNotFound
from tweet_service.tweets.schemas import Tweet, TweetReference

router = APIRouter(prefix="/v1/tweets/{tweet_id}", tags=["reactions"])
own_router = APIRouter(prefix="/v1/reactions", tags=["reactions"])

_ONE = problem_responses(*WRITER_PROBLEMS, TweetNotFound)


def _many(operation_id: str) -> dict[int | str, dict[str, Any]]:
    problems = problem_responses(*PUBLIC_PROBLEMS, TweetNotFound, ValidationFailed, InvalidCursor)
    return {**page_responses(operation_id, "path.tweet_id"), **problems}


@router.put("/like", summary="Like a tweet", responses={200: {"links": links_of("unlike", "list_likes")}, **_ONE})
async def like(tweet_id: TweetIdOfPath, caller: WritingCaller, services: ServicesDep) -> Tweet:
    """Returns the tweet with the new count. Idempotent. Liking a repost likes the reposted tweet."""
    return await services.reactions.like(tweet_id, caller)


@router.delete("/like", status_code=204, summary="Unlike a tweet", responses=_ONE)
async def unlike(tweet_id: TweetIdOfPath, caller: WritingCaller, services: ServicesDep) -> None:
    await services.reactions.unlike(tweet_id, caller)


@router.put(
    "/repost",
    summary="Repost a tweet",
    responses={200: {"links": links_of("delete_tweet", "take_repost_back")}, **_ONE},
)
async def repost(tweet_id: TweetIdOfPath, caller: WritingCaller, services: ServicesDep) -> Tweet:
    """Returns the repost, whose `repost_of` is the tweet. Idempotent."""
    return await services.reactions.repost(tweet_id, caller)


@router.delete("/repost", status_code=204, summary="Undo a repost", responses=_ONE)
async def take_repost_back(tweet_id: TweetIdOfPath, caller: WritingCaller, services: ServicesDep) -> None:
    await services.reactions.take_repost_back(tweet_id, caller)


@router.get(
    "/likes",
    summary="List users who like a tweet, newest first",
    responses=_many("list_likes"),
    openapi_extra=TOKEN_IS_OPTIONAL,
)
async def list_likes(
    *,
    tweet_id: TweetIdOfPath,
    caller: OptionalCaller,
    services: ServicesDep,
    request: Request,
    response: Response,
    before: PositionDep,
    limit: PageSize = 20,
) -> Page[Author]:
    page = await services.reactions.liked_by(tweet_id, before=before, limit=limit, caller=caller)
    return finish_page(page, request, response)


@router.get(
    "/reposts",
    summary="List users who repost a tweet, newest first",
    responses=_many("list_reposts"),
    openapi_extra=TOKEN_IS_OPTIONAL,
)
async def list_reposts(
    *,
    tweet_id: TweetIdOfPath,
    caller: OptionalCaller,
    services: ServicesDep,
    request: Request,
    response: Response,
    before: TweetPositionDep,
    limit: PageSize = 20,
) -> Page[Author]:
    page = await services.reactions.reposted_by(tweet_id, before=before, limit=limit, caller=caller)
    return finish_page(page, request, response)


@own_router.get(
    "",
    summary="Read which of these tweets you like or have reposted",
    responses=problem_responses(*CALLER_PROBLEMS, ValidationFailed),
)
async def read_own_reactions(
    caller: Caller,
    services: ServicesDep,
    tweet: Annotated[list[TweetReference], Query(min_length=1, max_length=MAX_PAGE, description="Ids, up to a page.")],
) -> OwnReactions:
    """Tweets are the same for all readers; this is the part that depends on the caller."""
    return await services.reactions.own([ObjectId(each) for each in tweet], caller)
