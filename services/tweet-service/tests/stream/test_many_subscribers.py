"""Many subscribers, slow ones, and the end of the process."""

import asyncio
import json
import signal
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pymongo

from embedded_stack import Stack
from support import sse
from support.jwt_issuer import Issuer
from support.polling import eventually
from support.replicas import Replica
from support.sse import Listener
from support.tweet_app import own_database
from support.tweet_stream import Author, Documents, Listen, ids, metric, serving

LISTENERS = 1000


async def test_slow_subscriber_is_cut_off(small_buffer: Replica, author: Author, listen: Listen) -> None:
    slow = await listen(to=small_buffer, buffer=4096)
    quick = await listen(to=small_buffer)
    posted: list[str] = []
    heard: list[str] = []
    before = await metric(small_buffer, "tweet_stream_dropped_total")
    while await metric(small_buffer, "tweet_stream_dropped_total") == before:
        assert len(posted) < 2000
        posted += author.store(10, "🐘" * 280)
        heard += await ids(quick, 10)
    assert heard == posted

    async def clients() -> float:
        return await metric(small_buffer, "tweet_stream_clients")

    assert await eventually(clients, lambda number: number == 1) == 1
    got = 0
    async with asyncio.timeout(120):
        while await slow.message() is not None:
            got += 1
    assert got < len(posted)
    assert await ids(await listen(to=small_buffer, after=slow.last_id), 1) == [posted[got - 1]]


async def test_subscriber_above_the_limit_gets_a_503_with_retry_after(small_buffer: Replica, listen: Listen) -> None:
    async def clients() -> float:
        return await metric(small_buffer, "tweet_stream_clients")

    await eventually(clients, lambda number: number == 0)
    others = [await listen(to=small_buffer, source=f"127.0.0.{number}") for number in range(1, 6)]
    refused = await listen(to=small_buffer)
    assert (refused.status, (await refused.body())["code"]) == (503, "too-many-streams")
    assert int(refused.headers["retry-after"]) > 0
    others[0].close()
    await eventually(clients, lambda number: number == 4)
    assert (await listen(to=small_buffer)).status == 200


async def test_one_client_can_not_take_all_streams(
    small_buffer: Replica, listen: Listen, issuer: Issuer, documents: Documents
) -> None:
    async def clients() -> float:
        return await metric(small_buffer, "tweet_stream_clients")

    await eventually(clients, lambda number: number == 0)
    attack = [await listen(to=small_buffer, source="127.0.0.2") for _ in range(8)]
    assert [stream.status for stream in attack] == [200] * 3 + [429] * 5
    assert (await attack[-1].body())["code"] == "too-many-streams-of-client"
    assert int(attack[-1].headers["retry-after"]) > 0
    assert (await listen(to=small_buffer, source="127.0.0.3")).status == 200
    for stream in attack:
        stream.close()
    await eventually(clients, lambda number: number == 1)
    token = f"Bearer {issuer.token(sub=Author(small_buffer.client, issuer, documents).id)}"
    attack = [await listen(to=small_buffer, source=f"127.0.0.{number}", Authorization=token) for number in range(4, 8)]
    assert [stream.status for stream in attack] == [200] * 2 + [429] * 2
    assert (await listen(to=small_buffer, source="127.0.0.4")).status == 200


def change_streams(mongodb_url: str, database: str) -> int:
    """Those that are open on the server."""
    with pymongo.MongoClient[dict[str, Any]](mongodb_url) as client:
        operations = list(client.admin.aggregate([{"$currentOp": {"idleCursors": True, "allUsers": True}}]))
    commands = (
        operation.get("cursor", {}).get("originatingCommand") or operation.get("command", {})
        for operation in operations
    )
    return sum(
        command.get("$db") == database and "$changeStream" in command.get("pipeline", [{}])[0] for command in commands
    )


async def test_thousand_subscribers_share_one_change_stream_and_end_with_the_process(
    stack: Stack, issuer: Issuer, mongodb_url: str
) -> None:
    with own_database(mongodb_url) as own:
        async with serving(
            stack, issuer, own.url, TWEET_STREAM_HEARTBEAT_SECONDS="600", TWEET_STREAM_CLIENTS_PER_ADDRESS="2000"
        ) as replica:
            author = Author(replica.client, issuer, own.documents)
            await author.post()
            assert (await replica.client.get("/v1/stream", params={"seconds": 0.01})).status_code == 200
            assert replica._process is not None
            process = psutil.Process(replica._process.pid)
            memory = process.memory_info().rss
            address = replica.client.base_url
            listeners = await asyncio.create_subprocess_exec(
                sys.executable,
                str(Path(sse.__file__)),
                *(address.host, str(address.port), "/v1/stream", str(LISTENERS)),
                stdout=asyncio.subprocess.PIPE,
            )
            assert listeners.stdout is not None
            async with asyncio.timeout(120):
                assert json.loads(await listeners.stdout.readline()) == {"connected": LISTENERS}
                each = (process.memory_info().rss - memory) / LISTENERS
                assert change_streams(mongodb_url, own.documents.name) == 1
                assert await metric(replica, "tweet_stream_clients") == LISTENERS
                began = time.time()
                await author.post()
                arrivals = json.loads(await listeners.stdout.readline())
            print(
                f"{each / 1024:.1f} KiB a listener; first after {1000 * (arrivals['first'] - began):.0f} ms, "
                f"last of {LISTENERS} after {1000 * (arrivals['last'] - began):.0f} ms"
            )
            assert await metric(replica, 'tweet_stream_events_total{event="tweet"}') == 1
            assert await metric(replica, 'http_requests_total{method="GET",route="/v1/stream",status="200"}') == 1
            assert 'seconds_count{method="GET",route="/v1/stream"}' not in (await replica.client.get("/metrics")).text

            deaf = await Listener.connect(address.host, address.port or 0, "/v1/stream", buffer=4096)
            author.store(300, "🐘" * 280)
            # A stream that waited for its next heartbeat would take longer than the process may.
            await replica.end(signal.SIGTERM)
            deaf.close()
            assert await asyncio.wait_for(listeners.wait(), 120) == 0
            assert "Traceback" not in replica.log.read_text()
