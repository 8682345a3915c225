"""Processes, authors and listeners of the stream."""

from collections.abc import AsyncIterator
from functools import partial

import pytest

from embedded_stack import Stack
from support.jwt_issuer import Issuer
from support.polling import eventually
from support.replicas import Replica
from support.sse import Listener
from support.tweet_stream import BUFFERED, Author, Documents, Listen, metric, serving


@pytest.fixture(scope="session")
async def service(stack: Stack, issuer: Issuer, database_url: str) -> AsyncIterator[Replica]:
    """The service with frequent heartbeats."""
    async with serving(stack, issuer, database_url) as replica:
        yield replica


@pytest.fixture(scope="session")
async def small_buffer(stack: Stack, issuer: Issuer, database_url: str) -> AsyncIterator[Replica]:
    """Another process on the same tweets, with a small buffer and few subscribers: five, three of one address."""
    few = {
        "TWEET_STREAM_BACKLOG": str(BUFFERED),
        "TWEET_STREAM_CLIENTS": "5",
        "TWEET_STREAM_CLIENTS_PER_ADDRESS": "3",
        "TWEET_STREAM_CLIENTS_PER_ACCOUNT": "2",
    }
    async with serving(stack, issuer, database_url, **few) as replica:
        yield replica


@pytest.fixture
def author(service: Replica, issuer: Issuer, documents: Documents) -> Author:
    return Author(service.client, issuer, documents)


@pytest.fixture
async def listen(service: Replica) -> AsyncIterator[Listen]:
    """Connect to the service, or to another process, with this query and these headers."""
    listeners, processes = [], {service}

    async def listen(
        query: str = "",
        *,
        to: Replica = service,
        after: str | None = None,
        buffer: int | None = None,
        source: str | None = None,
        **headers: str,
    ) -> Listener:
        url = to.client.base_url
        if after is not None:
            headers["Last-Event-ID"] = after
        listener = await Listener.connect(
            url.host, url.port or 0, f"/v1/stream?{query}", headers, buffer, source=source
        )
        listeners.append(listener)
        processes.add(to)
        return listener

    yield listen
    for listener in listeners:
        listener.close()
    # Processes allow few streams: those of this test must not count in the next one.
    for process in filter(Replica.is_running, processes):
        await eventually(partial(metric, process, "tweet_stream_clients"), lambda number: number == 0)
