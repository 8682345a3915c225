"""`/v1/events` over HTTP."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response
from pymongo.errors import PyMongoError

from service_kit.authorization import SCOPE_PROBLEMS, stream_token
from service_kit.client_address import client_network
from service_kit.problems import ValidationFailed, problem_responses
from service_kit.sse.events import TooManyStreams, TooManyStreamsOfClient
from service_kit.sse.limits import StreamClient
from service_kit.sse.response import EventStream, stream_response
from sync_service.change_feed.event_view import EventFilter
from sync_service.change_feed.hub import Feed
from sync_service.debezium.envelope import OperationName
from sync_service.dependencies import ReadsPersonal, SyncReader
from sync_service.routes.problems import UnknownRoute

router = APIRouter(prefix="/v1", tags=["events"])

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
    # FastAPI would read it from a parameter of the response class, which has none.
    status_code=200,
    summary="Stream change events (Server-Sent Events)",
    response_class=EventStream,
    responses={
        200: stream_response(_EXAMPLE),
        **problem_responses(*SCOPE_PROBLEMS, TooManyStreams, TooManyStreamsOfClient, ValidationFailed, UnknownRoute),
    },
)
async def stream_events(
    *,
    caller: SyncReader,
    reads_personal: ReadsPersonal,
    feed: FeedDep,
    request: Request,
    response: Response,
    route: Annotated[
        str | None, Query(max_length=100, description="Only events of this route.", examples=["users"])
    ] = None,
    operation: Annotated[
        OperationName | None, Query(description="Only events of this operation; `read` is a read of a snapshot.")
    ] = None,
    key: Annotated[
        str | None,
        Query(max_length=1000, description="Only events of the row with this key, or with this value in its key."),
    ] = None,
    limit: Annotated[int | None, Query(ge=1, le=100_000, description="End after this many events.")] = None,
    seconds: Annotated[float | None, Query(gt=0, le=86_400, description="End after this time.")] = None,
) -> EventStream:
    """Events of all partitions, from now on. A `change` has topic, partition and offset, `op` (c, u, d, or r for a read
    of a snapshot), `ts_ms`, `key`, `before`, `after` and `source`. `before` is null for MongoDB, whose log does not
    contain it. `broken` is a record that is not a change event, with the reason in `error`. Values of fields that the
    routes mark as personal are `[personal]`, unless the caller may read users; `key` then finds no such value either.

    After 15 seconds of silence there is a heartbeat, which is a comment. The stream can't be resumed. A client that
    reads more slowly than events arrive is cut off, if possible after an event `end` with the reason. The stream ends
    when the token expires or is revoked. The streams of an address and of an account are limited.
    """
    event_filter = EventFilter(None if route is None else feed.topics_of(route), operation, key)
    return EventStream(
        feed.subscription(
            event_filter, StreamClient(client_network(request), caller.sub), reads_personal=reads_personal
        ),
        limit=limit,
        seconds=seconds,
        token=stream_token(request, caller),
        unavailable_on=(PyMongoError,),
        headers=response.headers,
    )
