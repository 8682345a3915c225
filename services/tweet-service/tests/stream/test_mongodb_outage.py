"""The stream while MongoDB is down, and after the collection was dropped."""

import asyncio

from embedded_stack import Stack
from support.jwt_issuer import Issuer
from support.polling import eventually
from support.replicas import Replica
from support.sse import Listener
from support.tweet_app import own_database
from support.tweet_stream import Author, Listen, ids, metric, serving


async def test_stream_continues_after_an_outage(stack: Stack, service: Replica, author: Author, listen: Listen) -> None:
    listener = await listen()
    posted = author.store(1)
    assert await ids(listener, 1) == posted
    await asyncio.to_thread(stack.kill, "mongo")

    async def interruptions() -> float:
        return await metric(service, "tweet_stream_interruptions_total")

    await eventually(interruptions)
    await asyncio.to_thread(stack.start, "mongo")
    posted = await asyncio.to_thread(author.store, 3)
    assert await ids(listener, 3) == posted


async def test_dropped_collection_ends_streams_and_new_ones_start(
    stack: Stack, issuer: Issuer, mongodb_url: str
) -> None:
    with own_database(mongodb_url) as own:
        async with serving(stack, issuer, own.url) as replica:
            tweets = own.documents
            author = Author(replica.client, issuer, tweets)
            address = replica.client.base_url
            listener = await Listener.connect(address.host, address.port or 0, "/v1/stream")
            tweets.drop_collection("tweets")
            end = await listener.event()
            assert (end.event, end.data["code"]) == ("end", "stream-position-lost")
            async with asyncio.timeout(120):
                assert await listener.message() is None
            anew = await Listener.connect(address.host, address.port or 0, "/v1/stream")
            posted = author.store(1)
            assert await ids(anew, 1) == posted
            listener.close()
            anew.close()
