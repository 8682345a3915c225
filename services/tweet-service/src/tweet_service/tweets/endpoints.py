"""`/v1/tweets` over HTTP."""

import re
from typing import Annotated, Any

from bson import ObjectId
from fastapi import APIRouter, Depends, Header, Path, Query, Request, Response
from pydantic import PlainValidator, WithJsonSchema

from service_kit.openapi import TOKEN_IS_OPTIONAL
from service_kit.pagination import InvalidCursor
from service_kit.problems import ValidationFailed, problem_responses
from service_kit.schemas import DatetimeParam, Page
from tweet_service.dependencies import (
    READER_PROBLEMS,
    USER_PROBLEMS,
    CurrentReader,
    CurrentWriter,
    ServicesDep,
    services_of,
)
from tweet_service.headers import ETAG, LOCATION, VARY, cache_control
from tweet_service.idempotency.problems import IdempotencyKeyReused
from tweet_service.pagination import PageSize, TweetPositionDep, finish_page, page_responses
from tweet_service.tweets.etags import etag, is_current, json_of
from tweet_service.tweets.problems import (
    NotTheAuthor,
    ReferencedTweetNotFound,
    StaleVersion,
    TweetNotFound,
    VersionRequired,
)
from tweet_service.tweets.schemas import TWEET_ID_PATTERN, NewTweet, Tweet, TweetEdit

router = APIRouter(prefix="/v1/tweets", tags=["tweets"])

_IS_TWEET_ID = re.compile(TWEET_ID_PATTERN.strip("^$")).fullmatch

_CACHED = "no-cache"


def links_of(*operation_ids: str) -> dict[str, Any]:
    """OpenAPI `links`: what can be done with the tweet that was answered."""
    tweet = {"path.tweet_id": "$response.body#/id"}
    return {name: {"operationId": name, "parameters": tweet} for name in operation_ids}


_READ_HEADERS = {"ETag": ETAG, "Vary": VARY, "Cache-Control": cache_control(_CACHED)}
_EDIT = {
    "edit_tweet": {
        "operationId": "edit_tweet",
        "parameters": {"path.tweet_id": "$response.body#/id", "header.If-Match": "$response.header.ETag"},
    }
}
_LINKS = _EDIT | links_of(
    "read_tweet",
    "read_thread",
    "delete_tweet",
    "like",
    "unlike",
    "list_likes",
    "repost",
    "take_repost_back",
    "list_reposts",
)

# RFC 6585 §3 wants a 428 where it is missing, so FastAPI, which would answer 422, does not know of it.
_IF_MATCH = {
    "name": "If-Match",
    "in": "header",
    "required": True,
    "description": "The `ETag`, or the version in quotes.",
    "schema": {"type": "string", "examples": [ETAG["example"], '"1"']},
}

# Read by hand, too: this is what is asked for most, and each parameter that FastAPI knows of costs time.
_IF_NONE_MATCH = {
    "name": "If-None-Match",
    "in": "header",
    "required": False,
    "description": "An `ETag`: if the tweet is still the same, the answer is 304.",
    "schema": {"type": "string", "examples": [ETAG["example"]]},
}


async def _if_match(request: Request) -> str:
    """Several lines of a header are one list (RFC 9110 §5.3)."""
    given = request.headers.getlist("if-match")
    if not given:
        raise VersionRequired
    return ", ".join(given)


def _tweet_id(text: str) -> ObjectId:
    """An id that can't be one names nothing: 404, not 422."""
    if not _IS_TWEET_ID(text):
        raise TweetNotFound
    return ObjectId(text)


_TWEET_ID: dict[str, Any] = {"description": "24 hexadecimal digits.", "examples": ["6924ea2f0c9d3a5b7e1f4a68"]}
TweetIdOfPath = Annotated[
    ObjectId,
    PlainValidator(_tweet_id),
    WithJsonSchema({"type": "string", **_TWEET_ID}),
    Path(**_TWEET_ID),
]


def _answer(content: bytes, prepared: Response, status: int = 200) -> Response:
    """Bytes of a tweet with the headers that are prepared for them. FastAPI would validate it and write it anew."""
    answer = Response(content, status, media_type="application/json")
    answer.raw_headers.extend(prepared.raw_headers)
    return answer


@router.post(
    "",
    status_code=201,
    summary="Post a tweet",
    response_model=Tweet,
    responses={
        201: {"headers": {"Location": LOCATION, "ETag": ETAG}, "links": _LINKS},
        **problem_responses(
            *USER_PROBLEMS, ValidationFailed, ReferencedTweetNotFound, IdempotencyKeyReused, TweetNotFound
        ),
    },
)
async def post_tweet(
    *,
    new: NewTweet,
    user: CurrentWriter,
    request: Request,
    response: Response,
    idempotency_key: Annotated[
        str | None,
        Header(
            min_length=1,
            max_length=200,
            description="Chosen by the client. With the same body within 24 hours it answers the same tweet.",
        ),
    ] = None,
) -> Response:
    services = services_of(request)
    if idempotency_key is None:
        tweet = await services.tweets.post(new, user)
    else:
        tweet = await services.posting.post(new, user, idempotency_key)
    content = json_of(tweet)
    response.headers["Location"] = f"{request.scope['root_path']}{router.prefix}/{tweet.id}"
    response.headers["ETag"] = etag(tweet.version, content)
    return _answer(content, response, 201)


@router.get(
    "",
    summary="List tweets, newest first",
    responses={
        **page_responses("list_tweets"),
        **problem_responses(*READER_PROBLEMS, ValidationFailed, InvalidCursor),
    },
    openapi_extra=TOKEN_IS_OPTIONAL,
)
async def list_tweets(
    *,
    reader: CurrentReader,
    services: ServicesDep,
    request: Request,
    response: Response,
    author: Annotated[
        str | None, Query(description="Username; nobody of that name is an empty list.", max_length=100)
    ] = None,
    hashtag: Annotated[
        str | None, Query(description="With or without its sign, in any case.", min_length=1, max_length=280)
    ] = None,
    since: Annotated[DatetimeParam | None, Query(description="Posted at this moment or later.")] = None,
    until: Annotated[DatetimeParam | None, Query(description="Posted before this moment.")] = None,
    before: TweetPositionDep,
    limit: PageSize = 20,
) -> Page[Tweet]:
    """Pages are stable: what is posted while somebody leafs through neither repeats nor hides a tweet."""
    page = await services.tweets.newest(
        author=author, hashtag=hashtag, since=since, until=until, before=before, limit=limit, caller=reader
    )
    return finish_page(page, request, response)


@router.get(
    "/{tweet_id}",
    summary="Read a tweet",
    response_model=Tweet,
    responses={
        200: {"headers": _READ_HEADERS, "links": _LINKS},
        304: {"description": "The client has this already.", "headers": _READ_HEADERS},
        **problem_responses(*READER_PROBLEMS, TweetNotFound),
    },
    openapi_extra=TOKEN_IS_OPTIONAL | {"parameters": [_IF_NONE_MATCH]},
)
async def read_tweet(
    tweet_id: TweetIdOfPath,
    reader: CurrentReader,
    request: Request,
    response: Response,
) -> Response:
    if_none_match = ", ".join(request.headers.getlist("if-none-match"))
    tweet = await services_of(request).tweets.read(tweet_id, reader)
    content = json_of(tweet)
    current = etag(tweet.version, content)
    response.headers.update({"ETag": current, "Vary": "Authorization", "Cache-Control": _CACHED})
    if if_none_match and is_current(if_none_match, current):
        return Response(status_code=304, headers=response.headers)
    return _answer(content, response)


@router.patch(
    "/{tweet_id}",
    summary="Edit one's own tweet",
    response_model=Tweet,
    responses={
        200: {"headers": {"ETag": ETAG}, "links": _EDIT | links_of("read_tweet")},
        **problem_responses(
            *USER_PROBLEMS, NotTheAuthor, TweetNotFound, StaleVersion, ValidationFailed, VersionRequired
        ),
    },
    openapi_extra={"parameters": [_IF_MATCH]},
)
async def edit_tweet(
    *,
    tweet_id: TweetIdOfPath,
    edit: TweetEdit,
    user: CurrentWriter,
    services: ServicesDep,
    response: Response,
    if_match: Annotated[str, Depends(_if_match)],
) -> Response:
    """The text it had before is kept in the tweet's history."""
    tweet = await services.tweets.edit(tweet_id, edit, if_match, user)
    content = json_of(tweet)
    response.headers["ETag"] = etag(tweet.version, content)
    return _answer(content, response)


@router.delete(
    "/{tweet_id}",
    status_code=204,
    summary="Delete one's own tweet; an admin may delete any",
    responses=problem_responses(*USER_PROBLEMS, NotTheAuthor, TweetNotFound),
)
async def delete_tweet(tweet_id: TweetIdOfPath, user: CurrentWriter, services: ServicesDep) -> None:
    """For good. Replies to it stay."""
    await services.tweets.delete(tweet_id, user)
