"""HTTP of people and of who follows them."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response

from service_kit.openapi import TOKEN_IS_OPTIONAL
from service_kit.pagination import InvalidCursor
from service_kit.problems import ValidationFailed, problem_responses
from service_kit.schemas import Page
from tweet_service.dependencies import READER_PROBLEMS, USER_PROBLEMS, CurrentReader, CurrentWriter, ServicesDep
from tweet_service.follows.problems import OwnFollower
from tweet_service.headers import VARY
from tweet_service.pagination import PageSize, PositionDep, TweetPositionDep, finish_page, page_responses
from tweet_service.profiles.problems import UserNotFound
from tweet_service.profiles.schemas import Author, UserProfile
from tweet_service.tweets.schemas import Tweet

router = APIRouter(prefix="/v1/users/{username}", tags=["people"])

Username = Annotated[str, Path(max_length=100, examples=["ada"])]

_OF_THE_PERSON = {"path.username": "$response.body#/username"}
_LINKS = {
    name: {"operationId": name, "parameters": _OF_THE_PERSON}
    for name in ("list_tweets_of", "list_followers", "list_following", "follow")
}


def _many(operation_id: str) -> dict[int | str, dict[str, Any]]:
    problems = problem_responses(*READER_PROBLEMS, UserNotFound, ValidationFailed, InvalidCursor)
    return {**page_responses(operation_id, "path.username"), **problems}


@router.get(
    "",
    summary="Somebody's profile",
    responses={
        200: {"headers": {"Vary": VARY}, "links": _LINKS},
        **problem_responses(*READER_PROBLEMS, UserNotFound, ValidationFailed),
    },
    openapi_extra=TOKEN_IS_OPTIONAL,
)
async def read_profile(
    username: Username, reader: CurrentReader, services: ServicesDep, response: Response
) -> UserProfile:
    response.headers["Vary"] = "Authorization"
    return await services.follows.profile(username, reader)


@router.get(
    "/tweets",
    summary="Somebody's tweets and reposts, newest first",
    responses=_many("list_tweets_of"),
    openapi_extra=TOKEN_IS_OPTIONAL,
)
async def list_tweets_of(
    *,
    username: Username,
    reader: CurrentReader,
    services: ServicesDep,
    request: Request,
    response: Response,
    before: TweetPositionDep,
    limit: PageSize = 20,
) -> Page[Tweet]:
    author_id = await services.profiles.require_id_of(username, reader)
    wanted = {"author_id": author_id}
    page = await services.tweets.list_newest(wanted, before=before, limit=limit, caller=reader)
    return finish_page(page, request, response)


@router.get(
    "/followers", summary="Who follows somebody", responses=_many("list_followers"), openapi_extra=TOKEN_IS_OPTIONAL
)
async def list_followers(
    *,
    username: Username,
    reader: CurrentReader,
    services: ServicesDep,
    request: Request,
    response: Response,
    before: PositionDep,
    limit: PageSize = 20,
) -> Page[Author]:
    page = await services.follows.followers(username, before=before, limit=limit, caller=reader)
    return finish_page(page, request, response)


@router.get(
    "/following", summary="Whom somebody follows", responses=_many("list_following"), openapi_extra=TOKEN_IS_OPTIONAL
)
async def list_following(
    *,
    username: Username,
    reader: CurrentReader,
    services: ServicesDep,
    request: Request,
    response: Response,
    before: PositionDep,
    limit: PageSize = 20,
) -> Page[Author]:
    page = await services.follows.following(username, before=before, limit=limit, caller=reader)
    return finish_page(page, request, response)


_FOLLOW = problem_responses(*USER_PROBLEMS, UserNotFound, OwnFollower, ValidationFailed)


@router.put("/follow", status_code=204, summary="Follow somebody", responses=_FOLLOW)
async def follow(username: Username, user: CurrentWriter, services: ServicesDep) -> None:
    """Once, however often."""
    await services.follows.follow(username, user)


@router.delete("/follow", status_code=204, summary="Follow somebody no more", responses=_FOLLOW)
async def unfollow(username: Username, user: CurrentWriter, services: ServicesDep) -> None:
    await services.follows.unfollow(username, user)
