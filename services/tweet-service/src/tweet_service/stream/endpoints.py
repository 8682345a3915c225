"""`/v1/stream` over HTTP."""

from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from pymongo.errors import PyMongoError

from service_kit.authorization import stream_token
from service_kit.client_address import client_network
from service_kit.openapi import TOKEN_IS_OPTIONAL
from service_kit.problems import ValidationFailed, problem_responses
from service_kit.sse.events import TooManyStreams, TooManyStreamsOfClient
from service_kit.sse.limits import StreamClient
from service_kit.sse.response import EventStream, stream_response
from tweet_service.dependencies import PUBLIC_PROBLEMS, OptionalCaller, ServicesDep
from tweet_service.profiles.problems import UserNotFound
from tweet_service.stream.events import MAX_POSITION_LENGTH, StreamFilter
from tweet_service.stream.hub import TweetHub
from tweet_service.stream.problems import InvalidPosition, PositionLost
from tweet_service.tweets.entities import searched
from tweet_service.tweets.text import MAX_CODE_POINTS

router = APIRouter(prefix="/v1", tags=["stream"])

_EXAMPLE = """\
retry: 2210
id: 826924EA2F000000012B0229296E04

id: 826924EA31000000012B022C0100296E5A1004B1E29626E4F14C08A3A0D3A2B7C0D5F046645F696400646924EA310C9D3A5B7E1F4A680004
event: tweet
data: {"id":"6924ea310c9d3a5b7e1f4a68","text":"Hello #Tandem","author":{"id":"019a20ae-ba0e-79f0-8b83-c5bb8662bc58",\
"username":"ada","name":"Ada Lovelace"},"author_deleted":false,"created_at":"2025-11-24T23:31:13.482000Z",\
"edited_at":null,"version":1,"reply_to":null,"repost_of":null,"quote_of":null,"entities":{"hashtags":[{"tag":"Tandem",\
"start":6,"end":13}],"mentions":[],"urls":[]},"counts":{"likes":0,"reposts":0,"replies":0},"lang":null,"source":null}

: heartbeat
id: 826924EA40000000022B0229296E04

"""


async def _hub(request: Request) -> TweetHub:
    hub: TweetHub = request.app.state.stream
    return hub


HubDep = Annotated[TweetHub, Depends(_hub)]


@router.get(
    "/stream",
    # FastAPI would read it from a parameter of the response class, which has none.
    status_code=200,
    summary="Stream tweets (Server-Sent Events)",
    response_class=EventStream,
    responses={
        200: stream_response(_EXAMPLE),
        **problem_responses(
            *PUBLIC_PROBLEMS,
            TooManyStreams,
            TooManyStreamsOfClient,
            UserNotFound,
            PositionLost,
            ValidationFailed,
            InvalidPosition,
        ),
    },
    openapi_extra=TOKEN_IS_OPTIONAL,
)
async def stream_tweets(
    *,
    caller: OptionalCaller,
    request: Request,
    services: ServicesDep,
    hub: HubDep,
    response: Response,
    author: Annotated[str | None, Query(description="Username.", max_length=100, examples=["ada"])] = None,
    hashtag: Annotated[
        str | None, Query(description="With or without #, in any case.", min_length=1, max_length=MAX_CODE_POINTS)
    ] = None,
    limit: Annotated[int | None, Query(ge=1, le=100_000, description="End after this many events.")] = None,
    seconds: Annotated[float | None, Query(gt=0, le=86_400, description="End after this time.")] = None,
    last_event_id: Annotated[
        str | None,
        Header(alias="Last-Event-ID", max_length=MAX_POSITION_LENGTH, description="Resume after this event."),
    ] = None,
    resume_after: Annotated[
        str | None,
        Query(
            alias="last_event_id",
            max_length=MAX_POSITION_LENGTH,
            description="The same for clients that can't set headers. The header takes precedence.",
        ),
    ] = None,
) -> EventStream:
    """Events are `tweet` (new tweets and reposts) and `edit`, with the tweet as in `GET /v1/tweets/{id}`, and `delete`,
    with only the id. An edit contains the tweet as it is when the event is sent.

    `author` and `hashtag` must both match the tweet as it is when the event is sent. All clients get deletions, because
    a deleted tweet can't be matched.

    After 15 seconds of silence there is a heartbeat: a comment, and the `id` up to which the client has all events. To
    resume, send the last `id` in `Last-Event-ID` (a browser's `EventSource` does it automatically): the missed events
    are sent first, without gaps or duplicates. 410 means that they are not available any more.

    A stream lasts an hour at most. With a token it ends when the token expires or is revoked. The streams of an address
    and of an account are limited. A client that reads more slowly than events arrive
    is cut off, if possible after an event `end` with the reason; it may resume.
    """
    wanted = StreamFilter(
        author_id=None if author is None else await services.profiles.require_id_of(author, caller),
        tag=None if hashtag is None else searched(hashtag),
    )
    after = last_event_id or resume_after or None
    longest = hub.stream_limits.seconds
    client = StreamClient(client_network(request), None if caller is None else caller.sub)
    return EventStream(
        hub.subscription(wanted, after, client),
        limit=limit,
        seconds=min(seconds or longest, longest),
        token=None if caller is None else stream_token(request, caller),
        unavailable_on=(PyMongoError,),
        headers=response.headers,
    )
