"""`/v1/stream` over HTTP."""

from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query, Request, Response

from service_kit.event_stream import EventStream, TooManyStreams, stream_response
from service_kit.openapi import TOKEN_IS_OPTIONAL
from service_kit.problems import ValidationFailed, problem_responses
from tweet_service.dependencies import PUBLIC_PROBLEMS, OptionalCaller, ServicesDep
from tweet_service.profiles.problems import UserNotFound
from tweet_service.stream.events import MAX_POSITION_LENGTH, Wanted
from tweet_service.stream.hub import Hub
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


async def _hub(request: Request) -> Hub:
    hub: Hub = request.app.state.stream
    return hub


HubDep = Annotated[Hub, Depends(_hub)]


@router.get(
    "/stream",
    # FastAPI would take it from a parameter of the response class, which has none.
    status_code=200,
    summary="Tweets as they happen (Server-Sent Events)",
    response_class=EventStream,
    responses={
        200: stream_response(_EXAMPLE),
        **problem_responses(
            *PUBLIC_PROBLEMS, TooManyStreams, UserNotFound, PositionLost, ValidationFailed, InvalidPosition
        ),
    },
    openapi_extra=TOKEN_IS_OPTIONAL,
)
async def stream_tweets(
    *,
    _caller: OptionalCaller,
    services: ServicesDep,
    hub: HubDep,
    response: Response,
    author: Annotated[str | None, Query(description="Username.", max_length=100, examples=["ada"])] = None,
    hashtag: Annotated[
        str | None, Query(description="With or without #, in any case.", min_length=1, max_length=MAX_CODE_POINTS)
    ] = None,
    limit: Annotated[int | None, Query(ge=1, le=100_000, description="End after so many events.")] = None,
    seconds: Annotated[float | None, Query(gt=0, le=86_400, description="End after so long.")] = None,
    last_event_id: Annotated[
        str | None,
        Header(alias="Last-Event-ID", max_length=MAX_POSITION_LENGTH, description="Go on behind this event."),
    ] = None,
    begin_behind: Annotated[
        str | None,
        Query(
            alias="last_event_id",
            max_length=MAX_POSITION_LENGTH,
            description="The same for a client that can't set headers; the header, if there is one, goes before it.",
        ),
    ] = None,
) -> EventStream:
    """Events are `tweet` (posted, reposts too) and `edit`, with the tweet as in `GET /v1/tweets/{id}`, and `delete`,
    with its id alone. An edit shows the tweet as it is by the time that the event passes.

    With `author` and `hashtag` both must match, and what is looked at is the tweet as it is now. Deletions are sent to
    everybody: what is deleted can't be looked at.

    Every 15 seconds of silence there is a heartbeat: a comment, and the `id` up to which nothing was missed. To resume
    send the last `id` in `Last-Event-ID` (a browser's `EventSource` does so by itself), and what happened meanwhile
    comes first, without gap or repetition; 410 says that it was too long ago.

    A stream lasts an hour at most. A client that reads more slowly than tweets come in is cut off, if possible behind
    an event `end` that says why; it may resume.
    """
    wanted = Wanted(
        author_id=None if author is None else await services.profiles.require_id_of(author, _caller),
        tag=None if hashtag is None else searched(hashtag),
    )
    behind = last_event_id or begin_behind or None
    longest = hub.limits.seconds
    return EventStream(
        hub.subscription(wanted, behind),
        limit=limit,
        seconds=min(seconds or longest, longest),
        headers=response.headers,
    )
