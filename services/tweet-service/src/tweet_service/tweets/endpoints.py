"""`/v1/tweets` over HTTP."""

import re
from typing import Annotated

from bson import ObjectId
from fastapi import APIRouter, Depends, Header, Path, Query, Request, Response

from service_kit.pagination import InvalidCursor, next_link
from service_kit.problems import ServiceUnavailable, Unauthorized, ValidationFailed, problem_responses
from service_kit.tokens import InvalidToken
from service_kit.wire import Page
from tweet_service.authentication import CurrentReader, CurrentUser, TokenRevoked
from tweet_service.tweets.etags import etag, is_current
from tweet_service.tweets.problems import (
    NotTheAuthor,
    ReferencedTweetNotFound,
    StaleVersion,
    TweetNotFound,
    VersionRequired,
)
from tweet_service.tweets.schemas import TWEET_ID_PATTERN, NewTweet, Tweet, TweetEdit
from tweet_service.tweets.service import TweetServiceDep

MAX_PAGE = 100

router = APIRouter(prefix="/v1/tweets", tags=["tweets"])

_READER_PROBLEMS = (InvalidToken, TokenRevoked, ServiceUnavailable)
_USER_PROBLEMS = (Unauthorized, InvalidToken, TokenRevoked, ServiceUnavailable)
_ETAG = {"description": "Version and digest of the tweet.", "schema": {"type": "string"}}
_LOCATION = {"description": "Path of the tweet.", "schema": {"type": "string"}}
_LINK = {"description": "RFC 8288, `rel=next`; absent on the last page.", "schema": {"type": "string"}}


async def tweet_id_of_path(
    tweet_id: Annotated[str, Path(description="24 hexadecimal digits.", examples=["6924ea2f0c9d3a5b7e1f4a68"])],
) -> ObjectId:
    """An id that can't be one names nothing: 404, not 422."""
    if not re.fullmatch(TWEET_ID_PATTERN.strip("^$"), tweet_id):
        raise TweetNotFound
    return ObjectId(tweet_id)


TweetIdOfPath = Annotated[ObjectId, Depends(tweet_id_of_path)]


@router.post(
    "",
    status_code=201,
    summary="Post a tweet",
    responses={
        201: {"headers": {"Location": _LOCATION, "ETag": _ETAG}},
        **problem_responses(*_USER_PROBLEMS, ValidationFailed, ReferencedTweetNotFound),
    },
)
async def post_tweet(
    new: NewTweet, user: CurrentUser, tweets: TweetServiceDep, request: Request, response: Response
) -> Tweet:
    tweet = await tweets.post(new, user)
    path = request.app.url_path_for("read_tweet", tweet_id=tweet.id)
    response.headers["Location"] = request.scope["root_path"] + path
    response.headers["ETag"] = etag(tweet)
    return tweet


@router.get(
    "",
    summary="List tweets, newest first",
    responses={
        200: {"headers": {"Link": _LINK}},
        **problem_responses(*_READER_PROBLEMS, ValidationFailed, InvalidCursor),
    },
)
async def list_tweets(
    reader: CurrentReader,
    tweets: TweetServiceDep,
    request: Request,
    response: Response,
    *,
    author: Annotated[
        str | None, Query(description="Username; nobody of that name is an empty list.", max_length=100)
    ] = None,
    cursor: Annotated[str | None, Query(description="`next_cursor` of the page before.")] = None,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 20,
) -> Page[Tweet]:
    """Pages are stable: what is posted while somebody leafs through neither repeats nor hides a tweet."""
    page = await tweets.newest(author=author, cursor=cursor, limit=limit, caller=reader)
    response.headers["Vary"] = "Authorization"
    if page.next_cursor is not None:
        following = request.url.include_query_params(cursor=page.next_cursor)
        # Relative (RFC 8288 §3.1): only the client knows by which scheme and host it came.
        response.headers["Link"] = next_link(f"{following.path}?{following.query}")
    return Page(items=page.tweets, next_cursor=page.next_cursor)


@router.get(
    "/{tweet_id}",
    summary="Read a tweet",
    response_model=Tweet,
    responses={
        200: {"headers": {"ETag": _ETAG}},
        304: {"description": "The client has this already.", "headers": {"ETag": _ETAG}},
        **problem_responses(*_READER_PROBLEMS, TweetNotFound),
    },
)
async def read_tweet(
    tweet_id: TweetIdOfPath,
    reader: CurrentReader,
    tweets: TweetServiceDep,
    response: Response,
    if_none_match: Annotated[str | None, Header()] = None,
) -> Tweet | Response:
    tweet = await tweets.read(tweet_id, reader)
    current = etag(tweet)
    headers = {"ETag": current, "Vary": "Authorization", "Cache-Control": "no-cache"}
    if if_none_match is not None and is_current(if_none_match, current):
        return Response(status_code=304, headers=headers)
    response.headers.update(headers)
    return tweet


@router.patch(
    "/{tweet_id}",
    summary="Edit one's own tweet",
    responses={
        200: {"headers": {"ETag": _ETAG}},
        **problem_responses(
            *_USER_PROBLEMS, NotTheAuthor, TweetNotFound, StaleVersion, ValidationFailed, VersionRequired
        ),
    },
)
async def edit_tweet(
    tweet_id: TweetIdOfPath,
    edit: TweetEdit,
    user: CurrentUser,
    tweets: TweetServiceDep,
    response: Response,
    *,
    if_match: Annotated[str | None, Header(description="The `ETag`, or the version in quotes.")] = None,
) -> Tweet:
    """The text it had before is kept in the tweet's history."""
    if if_match is None:
        raise VersionRequired
    tweet = await tweets.edit(tweet_id, edit, if_match, user)
    response.headers["ETag"] = etag(tweet)
    return tweet


@router.delete(
    "/{tweet_id}",
    status_code=204,
    summary="Delete one's own tweet; an admin may delete any",
    responses=problem_responses(*_USER_PROBLEMS, NotTheAuthor, TweetNotFound),
)
async def delete_tweet(tweet_id: TweetIdOfPath, user: CurrentUser, tweets: TweetServiceDep) -> None:
    """For good. Replies to it stay."""
    await tweets.delete(tweet_id, user)
