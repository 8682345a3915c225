"""Heartbeats, and resuming without gaps and duplicates."""

import asyncio
import random

import pytest

from embedded_stack import Stack
from support.jwt_issuer import Issuer
from support.replicas import Replica
from support.sse import Message
from support.tweet_stream import BUFFERED, Author, Listen, ids, metric, serving


async def test_stream_resumes_from_the_id_of_a_heartbeat(author: Author, listen: Listen) -> None:
    listener = await listen(f"author={author.username}")

    async def heartbeat() -> Message:
        async with asyncio.timeout(120):
            while (message := await listener.message()) is None or not message.text.startswith(": heartbeat"):
                pass
        return message

    await heartbeat()
    beat = await heartbeat()
    listener.close()
    (missed,) = author.store(1)
    assert beat.id is not None
    assert await ids(await listen(after=beat.id), 1) == [missed]


@pytest.mark.parametrize("where", ["header", "query"])
async def test_resumes_from_memory(service: Replica, author: Author, listen: Listen, where: str) -> None:
    other = await listen()
    before = await metric(service, 'tweet_stream_resumed_total{source="backlog"}')
    listener = await listen()
    posted = author.store(1)
    assert await ids(listener, 1) == posted
    listener.close()
    missed = author.store(5)
    await ids(other, 6)
    back = (
        await listen(after=listener.last_id) if where == "header" else await listen(f"last_event_id={listener.last_id}")
    )
    assert await ids(back, 5) == missed
    assert await metric(service, 'tweet_stream_resumed_total{source="backlog"}') == before + 1


async def test_resumes_from_the_log_after_the_buffer(small_buffer: Replica, author: Author, listen: Listen) -> None:
    listener = await listen(to=small_buffer)
    posted = author.store(1)
    assert await ids(listener, 1) == posted
    position = listener.last_id
    missed = author.store(5 * BUFFERED)
    assert await ids(listener, 5 * BUFFERED) == missed
    listener.close()

    before = await metric(small_buffer, 'tweet_stream_resumed_total{source="log"}')
    back = await listen(to=small_buffer, after=position)
    filtered = await listen(f"author={author.username}", to=small_buffer, after=position)
    live = author.store(5)
    assert await ids(back, 5 * BUFFERED + 5) == missed + live
    assert await ids(filtered, 5 * BUFFERED + 5) == missed + live
    assert await metric(small_buffer, 'tweet_stream_resumed_total{source="log"}') == before + 2


async def test_after_a_restart_missed_events_are_read_once_for_all(
    stack: Stack, issuer: Issuer, database_url: str, author: Author, listen: Listen
) -> None:
    listener = await listen()
    author.store(1)
    position = (await listener.event()).id
    missed = author.store(150)
    async with serving(stack, issuer, database_url) as restarted:
        back = [await listen(to=restarted, after=position) for _ in range(5)]
        live = author.store(2)
        for each in back:
            assert await ids(each, 152) == missed + live
        assert await metric(restarted, 'tweet_stream_resumed_total{source="backlog"}') == 5
        for each in back:
            each.close()


@pytest.mark.parametrize("seed", range(3))
async def test_random_disconnections_lose_and_repeat_no_event(
    service: Replica, small_buffer: Replica, author: Author, listen: Listen, seed: int
) -> None:
    """Reconnect to alternating processes, as with a load balancer."""
    chance = random.Random(seed)  # noqa: S311 - no secret
    opening = await (await listen()).message()
    assert opening is not None
    posted: list[str] = []
    heard: list[str] = []

    async def post() -> None:
        while len(posted) < 200:
            posted.extend(await asyncio.to_thread(author.store, min(chance.randint(1, 12), 200 - len(posted))))

    posting = asyncio.create_task(post())
    position = opening.id
    while not posting.done() or len(heard) < len(posted):
        listener = await listen(to=chance.choice([service, small_buffer]), after=position)
        heard += await ids(listener, min(chance.randint(0, 40), 200 - len(heard)))
        position = listener.last_id or position
        listener.close()
    await posting
    assert heard == posted


@pytest.mark.parametrize(
    "garbage", ["x", "82", "-1", "82" + "F" * 16, "826924EA2F00000001FF", "826924EA2F000000012B02", "8" * 999]
)
async def test_invalid_position_is_refused_before_the_stream_begins(listen: Listen, garbage: str) -> None:
    refused = await listen(after=garbage)
    assert (refused.status, (await refused.body())["code"]) == (422, "invalid-stream-position")


async def test_position_that_is_not_in_the_log_any_more_is_gone(author: Author, listen: Listen) -> None:
    listener = await listen()
    author.store(1)
    position = (await listener.event()).id
    assert position is not None
    refused = await listen(after="82" + "0000000100000001" + position[18:])
    assert (refused.status, (await refused.body())["code"]) == (410, "stream-position-lost")
