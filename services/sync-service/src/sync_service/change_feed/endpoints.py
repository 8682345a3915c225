"""`/v1/events` over HTTP."""

import time
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from service_kit.event_stream import FINISHED, EventStream, StreamEnded, TooManyStreams, stream_response
from service_kit.problems import ValidationFailed, problem_responses
from sync_service.change_feed.event_view import EventFilter, OperationName
from sync_service.change_feed.hub import Feed
from sync_service.dependencies import WORKER_PROBLEMS, CurrentWorker
from sync_service.routes.problems import UnknownRoute

router = APIRouter(prefix="/v1", tags=["events"])

TOKEN_EXPIRED = StreamEnded("token-expired", "The access token has expired. Come back with another one.")

_EXAMPLE = """\
retry: 2210

event: change
data: {"topic": "cdc.mysql.auth.users", "partition": 3, "offset": 17, "route": "users", "op": "u", \
"ts_ms": 1795490254095, "key": {"id": "019ac2e4-6f1b-7c3e-9a52-0b7d8d3f4e21"}, "before": {"name": "Ada"}, \
"after": {"name": "Ada Lovelace"}, "source": {"connector": "mysql", "name": "cdc.mysql", "ts_ms": 1795490254088}}

: heartbeat

"""


async def _feed(request: Request) -> Feed:
    feed: Feed = request.app.state.feed
    return feed


FeedDep = Annotated[Feed, Depends(_feed)]


@router.get(
    "/events",
    # FastAPI would take it from a parameter of the response class, which has none.
    status_code=200,
    summary="Change events as they pass (Server-Sent Events)",
    response_class=EventStream,
    responses={
        200: stream_response(_EXAMPLE),
        **problem_responses(*WORKER_PROBLEMS, TooManyStreams, ValidationFailed, UnknownRoute),
    },
)
async def stream_events(
    *,
    worker: CurrentWorker,
    feed: FeedDep,
    response: Response,
    route: Annotated[str | None, Query(max_length=100, description="Of this route only.", examples=["users"])] = None,
    operation: Annotated[OperationName | None, Query(description="read: of a snapshot.")] = None,
    key: Annotated[
        str | None, Query(max_length=1000, description="Of the row with this value in its key, or with this key.")
    ] = None,
    limit: Annotated[int | None, Query(ge=1, le=100_000, description="End after so many events.")] = None,
    seconds: Annotated[float | None, Query(gt=0, le=86_400, description="End after so long.")] = None,
) -> EventStream:
    """Events of all partitions, from now on. `change` has topic, partition and offset, `op` (c, u, d, or r for a read
    of a snapshot), `ts_ms`, `key`, `before`, `after` and `source`; of MongoDB's changes `before` is null, for its log
    does not tell it. `broken` is a record that is no change event, with the reason in `error`.

    After 15 seconds of silence comes a comment. Nothing is kept for who comes back. A client that reads more slowly
    than events come in is cut off, if possible behind an event `end` that says why. The stream ends with the token.
    """
    longest = max(0.0, worker.exp - time.time())
    event_filter = EventFilter(None if route is None else feed.topics_of(route), operation, key)
    return EventStream(
        feed.subscription(event_filter),
        limit=limit,
        seconds=longest if seconds is None else min(seconds, longest),
        at_end=TOKEN_EXPIRED if seconds is None or seconds >= longest else FINISHED,
        headers=response.headers,
    )
