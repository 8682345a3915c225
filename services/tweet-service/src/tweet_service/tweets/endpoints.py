"""`/v1/tweets` over HTTP."""

import re
from typing import Annotated, Any

from bson import ObjectId
from fastapi import APIRouter, Depends, Header, Path, Query, Request, Response
from pydantic import AfterValidator, PlainValidator, WithJsonSchema

from service_kit.openapi import TOKEN_IS_OPTIONAL, also_needs
from service_kit.pagination import InvalidCursor
from service_kit.problems import ValidationFailed, problem_responses
from service_kit.roles import Scope
from service_kit.schemas import DatetimeParam, Page, require_text
from tweet_service.dependencies import (
    PUBLIC_PROBLEMS,
    WRITER_PROBLEMS,
    OptionalCaller,
    ServicesDep,
    WritingCaller,
    services_of,
)
from tweet_service.headers import ETAG, LOCATION, VARY, cache_control
from tweet_service.pagination import PageSize, TweetPositionDep, finish_page, page_responses
from tweet_service.tweets.etags import etag, is_current, json_of
from tweet_service.tweets.problems import (
    IdempotencyKeyReused,
    NotTheAuthor,
    ReferencedTweetNotFound,
    StaleVersion,
    TweetNotFound,
    VersionRequired,
)
from tweet_service.tweets.schemas import TWEET_ID_PATTERN, NewTweet, Tweet, TweetEdit
from tweet_service.tweets.text import MAX_CODE_POINTS

router = APIRouter(prefix="/v1/tweets", tags=["tweets"])

_IS_TWEET_ID = re.compile(TWEET_ID_PATTERN.strip("^$")).fullmatch

_CACHED = "no-cache"


def links_of(*operation_ids: str) -> dict[str, Any]:
    """OpenAPI `links`: operations on the returned tweet."""
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

# RFC 6585 §3 requires a 428 if it is missing. FastAPI would answer 422, so it does not declare the header.
_IF_MATCH = {
    "name": "If-Match",
    "in": "header",
    "required": True,
    "description": "The `ETag`, or the version in quotes.",
    "schema": {"type": "string", "examples": [ETAG["example"], '"1"']},
}

# Not declared to FastAPI either: each declared parameter costs time, in the most frequent request.
_IF_NONE_MATCH = {
    "name": "If-None-Match",
    "in": "header",
    "required": False,
    "description": "An `ETag`. The response is 304 if the tweet is unchanged.",
    "schema": {"type": "string", "examples": [ETAG["example"]]},
}


async def _if_match(request: Request) -> str:
    """The values of all `If-Match` lines as one list (RFC 9110 §5.3)."""
    given = request.headers.getlist("if-match")
    if not given:
        raise VersionRequired
    return ", ".join(given)


def _tweet_id(text: str) -> ObjectId:
    """A malformed id is a 404, not a 422."""
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


def _json_response(content: bytes, prepared: Response, status: int = 200) -> Response:
    """A response with the JSON of a tweet and the headers of `prepared`. FastAPI would validate and encode it again."""
    response = Response(content, status, media_type="application/json")
    response.raw_headers.extend(prepared.raw_headers)
    return response


@router.post(
    "",
    status_code=201,
    summary="Post a tweet",
    response_model=Tweet,
    responses={
        201: {"headers": {"Location": LOCATION, "ETag": ETAG}, "links": _LINKS},
        **problem_responses(
            *WRITER_PROBLEMS, ValidationFailed, ReferencedTweetNotFound, IdempotencyKeyReused, TweetNotFound
        ),
    },
)
async def post_tweet(
    *,
    new: NewTweet,
    caller: WritingCaller,
    request: Request,
    response: Response,
    idempotency_key: Annotated[
        str | None,
        AfterValidator(require_text),
        Header(
            min_length=1,
            max_length=200,
            description="Chosen by the client. The same key and body within 24 hours return the same tweet.",
        ),
    ] = None,
) -> Response:
    services = services_of(request)
    if idempotency_key is None:
        tweet = await services.tweets.post(new, caller)
    else:
        tweet = await services.posting.post(new, caller, idempotency_key)
    content = json_of(tweet)
    response.headers["Location"] = f"{request.scope['root_path']}{router.prefix}/{tweet.id}"
    response.headers["ETag"] = etag(tweet.version, content)
    return _json_response(content, response, 201)


@router.get(
    "",
    summary="List tweets, newest first",
    responses={
        **page_responses("list_tweets"),
        **problem_responses(*PUBLIC_PROBLEMS, ValidationFailed, InvalidCursor),
    },
    openapi_extra=TOKEN_IS_OPTIONAL,
)
async def list_tweets(
    *,
    caller: OptionalCaller,
    services: ServicesDep,
    request: Request,
    response: Response,
    author: Annotated[
        str | None, Query(description="Username. The list is empty if there is no such user.", max_length=100)
    ] = None,
    hashtag: Annotated[
        str | None, Query(description="With or without #, in any case.", min_length=1, max_length=MAX_CODE_POINTS)
    ] = None,
    since: Annotated[DatetimeParam | None, Query(description="Posted at this time or later.")] = None,
    until: Annotated[DatetimeParam | None, Query(description="Posted before this time.")] = None,
    before: TweetPositionDep,
    limit: PageSize = 20,
) -> Page[Tweet]:
    """Pages are stable: new tweets neither repeat nor hide a tweet on later pages."""
    page = await services.tweets.newest(
        author=author, hashtag=hashtag, since=since, until=until, before=before, limit=limit, caller=caller
    )
    return finish_page(page, request, response)


@router.get(
    "/{tweet_id}",
    summary="Read a tweet",
    response_model=Tweet,
    responses={
        200: {"headers": _READ_HEADERS, "links": _LINKS},
        304: {"description": "Not modified.", "headers": _READ_HEADERS},
        **problem_responses(*PUBLIC_PROBLEMS, TweetNotFound),
    },
    openapi_extra=TOKEN_IS_OPTIONAL | {"parameters": [_IF_NONE_MATCH]},
)
async def read_tweet(
    tweet_id: TweetIdOfPath,
    caller: OptionalCaller,
    request: Request,
    response: Response,
) -> Response:
    if_none_match = ", ".join(request.headers.getlist("if-none-match"))
    tweet = await services_of(request).tweets.read(tweet_id, caller)
    content = json_of(tweet)
    current = etag(tweet.version, content)
    response.headers.update({"ETag": current, "Vary": "Authorization", "Cache-Control": _CACHED})
    if if_none_match and is_current(if_none_match, current):
        return Response(status_code=304, headers=response.headers)
    return _json_response(content, response)


@router.patch(
    "/{tweet_id}",
    summary="Edit your tweet",
    response_model=Tweet,
    responses={
        200: {"headers": {"ETag": ETAG}, "links": _EDIT | links_of("read_tweet")},
        **problem_responses(
            *WRITER_PROBLEMS, NotTheAuthor, TweetNotFound, StaleVersion, ValidationFailed, VersionRequired
        ),
    },
    openapi_extra={"parameters": [_IF_MATCH]},
)
async def edit_tweet(
    *,
    tweet_id: TweetIdOfPath,
    edit: TweetEdit,
    caller: WritingCaller,
    services: ServicesDep,
    response: Response,
    if_match: Annotated[str, Depends(_if_match)],
) -> Response:
    """The previous text is kept in the edit history of the tweet."""
    tweet = await services.tweets.edit(tweet_id, edit, if_match, caller)
    content = json_of(tweet)
    response.headers["ETag"] = etag(tweet.version, content)
    return _json_response(content, response)


@router.delete(
    "/{tweet_id}",
    status_code=204,
    summary="Delete your tweet, or with `tweets:moderate` that of another user",
    responses=problem_responses(*WRITER_PROBLEMS, NotTheAuthor, TweetNotFound),
    openapi_extra=also_needs(Scope.TWEETS_MODERATE, "for a tweet of another user"),
)
async def delete_tweet(tweet_id: TweetIdOfPath, caller: WritingCaller, services: ServicesDep) -> None:
    """Permanent. Replies remain."""
    await services.tweets.delete(tweet_id, caller)
