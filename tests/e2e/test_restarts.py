"""What was acknowledged survives a stopped sync, killed processes and a stopped stack, without a new snapshot."""

import asyncio

import httpx
import pytest

from e2e.copies import Copies
from e2e.users import Register, User
from embedded_stack import Stack
from support.polling import eventually
from support.records import read_records


async def test_data_written_while_sync_is_down_arrives(
    breakable_stack: Stack, register: Register, user: User, copies: Copies
) -> None:
    doomed = await user.tweet("to be deleted")
    await eventually(lambda: copies.tweet(doomed["id"]))
    breakable_stack.stop_one("sync")

    tweets = [await user.tweet(f"number {number}") for number in range(20)]
    await user.client.delete(f"/api/tweets/v1/tweets/{doomed['id']}")
    newcomer = await register()
    assert await copies.tweet(tweets[0]["id"]) is None
    await asyncio.to_thread(breakable_stack.start, "sync")

    for tweet in tweets:
        await eventually(lambda wanted=tweet: copies.tweet(wanted["id"]))
    await eventually(lambda: copies.user(newcomer.id))
    await eventually(lambda: copies.tweet(doomed["id"]), lambda row: row is None)


# The first ones are not on the way of a tweet to its copy, or keep nothing.
@pytest.mark.parametrize(
    "service",
    [
        *(pytest.param(each, marks=pytest.mark.long) for each in ("auth", "registrar", "gateway")),
        "tweet",
        "sync",
        "connect",
        "kafka",
    ],
)
async def test_killed_process_loses_nothing(breakable_stack: Stack, user: User, copies: Copies, service: str) -> None:
    acknowledged: list[str] = []
    first = await user.tweet("before the kill")
    await eventually(lambda: copies.tweet(first["id"]))
    snapshot_reads = await _snapshot_reads(breakable_stack)

    async def write_steadily(stop: asyncio.Event) -> None:
        while not stop.is_set():
            try:
                answer = await user.client.post("/api/tweets/v1/tweets", json={"text": f"{len(acknowledged)}"})
            except httpx.TransportError:
                continue
            if answer.status_code == 201:
                acknowledged.append(answer.json()["id"])
            # Slower than the limit on writes.
            await asyncio.sleep(0.02)

    stop = asyncio.Event()
    async with asyncio.TaskGroup() as writing:
        writing.create_task(write_steadily(stop))
        try:
            await eventually(lambda: _length(acknowledged), lambda count: count >= 20)
            breakable_stack.kill(service)
            await asyncio.to_thread(breakable_stack.start, service)
            count_after_restart = len(acknowledged)
            await eventually(lambda: _length(acknowledged), lambda count: count >= count_after_restart + 20)
        finally:
            stop.set()

    for tweet_id in acknowledged:
        await eventually(lambda wanted=tweet_id: copies.tweet(wanted), within=180)
    assert await _snapshot_reads(breakable_stack) == snapshot_reads


async def test_restarted_stack_keeps_everything(breakable_stack: Stack, user: User, copies: Copies) -> None:
    kept, doomed = await user.tweet("kept"), await user.tweet("deleted just before the stop")
    await eventually(lambda: copies.tweet(doomed["id"]))
    snapshot_reads = await _snapshot_reads(breakable_stack)
    await user.client.delete(f"/api/tweets/v1/tweets/{doomed['id']}")

    await asyncio.to_thread(breakable_stack.stop)
    await copies.mysql.dispose()
    await asyncio.to_thread(breakable_stack.start)

    assert (await user.client.get(f"/api/tweets/v1/tweets/{kept['id']}")).json()["text"] == "kept"
    credentials = {"login": user.username, "password": user.password, "remember_me": False}
    login = await user.client.post("/api/auth/v1/login", json=credentials)
    assert login.status_code == 200, login.text
    await eventually(lambda: copies.tweet(kept["id"]), within=180)
    await eventually(lambda: copies.tweet(doomed["id"]), lambda row: row is None, within=180)
    await eventually(lambda: copies.user(user.id), within=180)
    afterwards = await user.tweet("after the restart")
    await eventually(lambda: copies.tweet(afterwards["id"]), within=180)
    assert await _snapshot_reads(breakable_stack) == snapshot_reads


async def _snapshot_reads(stack: Stack) -> int:
    """How many events of snapshots the topics of tweets and users have. Other tests put broken events there."""
    servers = stack.addresses["KAFKA_BOOTSTRAP_SERVERS"]
    values = [
        record.value
        for topic in ("cdc.mongo.tweets.tweets", "cdc.mysql.auth.users")
        for partition in range(6)
        for record in await read_records(servers, topic, partition)
    ]
    return sum(b'"op":"r"' in value for value in values if value is not None)


async def _length(items: list[str]) -> int:
    return len(items)
