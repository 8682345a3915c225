"""HTTP endpoints of users and their followers."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response

from service_kit.client_address import client_network
from service_kit.openapi import TOKEN_IS_OPTIONAL
from service_kit.pagination import InvalidCursor
from service_kit.problems import ValidationFailed, problem_responses
from service_kit.schemas import Page
from tweet_service.dependencies import PUBLIC_PROBLEMS, WRITER_PROBLEMS, OptionalCaller, ServicesDep, WritingCaller
from tweet_service.follows.problems import CannotFollowSelf
from tweet_service.headers import VARY
from tweet_service.pagination import PageSize, PositionDep, TweetPositionDep, finish_page, page_responses
from tweet_service.profiles.problems import UserNotFound
from tweet_service.profiles.schemas import Author
from tweet_service.tweets.schemas import Tweet
from tweet_service.users.schemas import UserProfile

router = APIRouter(prefix="/v1/users/{username}", tags=["people"])

Username = Annotated[str, Path(max_length=100, examples=["ada"])]

_THIS_USER = {"path.username": "$response.body#/username"}
_LINKS = {
    name: {"operationId": name, "parameters": _THIS_USER}
    for name in ("list_tweets_of", "list_followers", "list_following", "follow")
}


def _many(operation_id: str) -> dict[int | str, dict[str, Any]]:
    problems = problem_responses(*PUBLIC_PROBLEMS, UserNotFound, ValidationFailed, InvalidCursor)
    return {**page_responses(operation_id, "path.username"), **problems}


@router.get(
    "",
    summary="Read the profile of a user",
    responses={
        200: {"headers": {"Vary": VARY}, "links": _LINKS},
        **problem_responses(*PUBLIC_PROBLEMS, UserNotFound, ValidationFailed),
    },
    openapi_extra=TOKEN_IS_OPTIONAL,
)
async def read_profile(
    username: Username, caller: OptionalCaller, services: ServicesDep, request: Request, response: Response
) -> UserProfile:
    response.headers["Vary"] = "Authorization"
    return await services.users.read(username, caller, client_network(request))


@router.get(
    "/tweets",
    summary="List tweets and reposts of a user, newest first",
    responses=_many("list_tweets_of"),
    openapi_extra=TOKEN_IS_OPTIONAL,
)
async def list_tweets_of(
    *,
    username: Username,
    caller: OptionalCaller,
    services: ServicesDep,
    request: Request,
    response: Response,
    before: TweetPositionDep,
    limit: PageSize = 20,
) -> Page[Tweet]:
    author_id = await services.profiles.require_id_of(username, caller)
    wanted = {"author_id": author_id}
    page = await services.tweets.list_newest(wanted, before=before, limit=limit, caller=caller)
    return finish_page(page, request, response)


@router.get(
    "/followers",
    summary="List followers, newest first",
    responses=_many("list_followers"),
    openapi_extra=TOKEN_IS_OPTIONAL,
)
async def list_followers(
    *,
    username: Username,
    caller: OptionalCaller,
    services: ServicesDep,
    request: Request,
    response: Response,
    before: PositionDep,
    limit: PageSize = 20,
) -> Page[Author]:
    page = await services.follows.followers(username, before=before, limit=limit, caller=caller)
    return finish_page(page, request, response)


@router.get(
    "/following",
    summary="List followed users, newest first",
    responses=_many("list_following"),
    openapi_extra=TOKEN_IS_OPTIONAL,
)
async def list_following(
    *,
    username: Username,
    caller: OptionalCaller,
    services: ServicesDep,
    request: Request,
    response: Response,
    before: PositionDep,
    limit: PageSize = 20,
) -> Page[Author]:
    page = await services.follows.following(username, before=before, limit=limit, caller=caller)
    return finish_page(page, request, response)


_FOLLOW = problem_responses(*WRITER_PROBLEMS, UserNotFound, CannotFollowSelf, ValidationFailed)


@router.put("/follow", status_code=204, summary="Follow a user", responses=_FOLLOW)
async def follow(username: Username, caller: WritingCaller, services: ServicesDep) -> None:
    """Idempotent."""
    await services.follows.follow(username, caller)


@router.delete("/follow", status_code=204, summary="Unfollow a user", responses=_FOLLOW)
async def unfollow(username: Username, caller: WritingCaller, services: ServicesDep) -> None:
    await services.follows.unfollow(username, caller)
