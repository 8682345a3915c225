"""The consumer group: foreign members, and processes that die, hang and come back."""

import asyncio
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.client import AIOKafkaClient, CoordinationType
from aiokafka.errors import GroupCoordinatorNotAvailableError
from aiokafka.protocol.group import JoinGroupRequest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from embedded_stack import Stack
from support.polling import eventually
from support.replicas import Replica
from support.sync_harness import SyncHarness, becomes, tweet_event, tweet_id
from support.sync_process import PARTITIONS, SyncProcess
from support.sync_process import tweet_event as own_event
from sync_service.kafka import group
from sync_service.kafka.group_problems import ForeignMembers
from sync_service.runner import SyncRunner


async def said(runner: SyncRunner) -> str:
    return runner.problem or ""


async def coordinator_of(client: AIOKafkaClient, group_id: str) -> int:
    async def look() -> int | None:
        try:
            node: int = await client.coordinator_lookup(CoordinationType.GROUP, group_id)
        except GroupCoordinatorNotAvailableError:
            return None
        return node

    node = await eventually(look, lambda node: node is not None)
    assert node is not None
    return node


async def test_group_of_another_protocol_type_is_reported(harness: SyncHarness) -> None:
    """As if the sync had the group of Kafka Connect's workers."""
    group_id = harness.settings.sync_group_id
    async with harness.kafka.started(harness.kafka.client()) as client:
        node, member_id = await coordinator_of(client, group_id), ""

        async def join() -> int:
            nonlocal member_id
            request = JoinGroupRequest(group_id, 6_000, 6_000, member_id, None, "connect", [("default", b"x")])
            answer = await client.send(node, request)
            member_id = answer.member_id
            return int(answer.error_code)

        # It is given an id first, and the coordinator may be loading.
        await eventually(join, lambda error_code: error_code == 0)
        runner = harness.start_sync()
        await eventually(lambda: said(runner), lambda problem: f"SYNC_GROUP_ID={group_id} is in use" in problem)
    # It dies, and the sync tries again.
    await harness.send(harness.tweets_topic, tweet_event(1, "one"))
    await becomes(harness.tweets, {tweet_id(1): "one"})
    await becomes(lambda: said(runner), "")


@pytest.fixture
def watchful(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group, "MEMBERS_CHECK_SECONDS", 1.0)


@pytest.mark.usefixtures("watchful")
async def test_foreign_consumer_in_the_group_is_reported_until_it_leaves(harness: SyncHarness) -> None:
    runner = harness.start_sync()
    other = harness.start_sync()
    await harness.send(harness.tweets_topic, tweet_event(1, "one"))
    await becomes(harness.tweets, {tweet_id(1): "one"})
    async with AIOKafkaConsumer(
        harness.tweets_topic,
        bootstrap_servers=harness.settings.kafka_bootstrap_servers,
        group_id=harness.settings.sync_group_id,
        client_id="a curious consumer",
    ):
        problem = await eventually(lambda: said(runner), lambda problem: "no sync-service" in problem)
        assert "(a curious consumer at 127.0.0.1)" in problem
        assert "SYNC_GROUP_ID" in problem
    for each in (runner, other):
        await becomes(lambda each=each: said(each), "")


@pytest.fixture
def new_protocol(harness: SyncHarness, stack: Stack) -> Iterator[None]:
    """A member of the sync's group by the protocol of KIP-848, which only the Java client speaks."""
    command = list(stack.components["kafka"].command().argv)
    class_path = command[command.index("-cp") + 1]
    consumer = subprocess.Popen(
        [
            *(command[0], "-cp", class_path, "org.apache.kafka.tools.consumer.ConsoleConsumer"),
            *("--bootstrap-server", harness.settings.kafka_bootstrap_servers, "--topic", harness.tweets_topic),
            *("--group", harness.settings.sync_group_id, "--command-property", "group.protocol=consumer"),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    yield
    consumer.terminate()
    consumer.wait(120)


@pytest.mark.usefixtures("watchful", "new_protocol")
async def test_member_with_the_new_group_protocol_is_reported(harness: SyncHarness) -> None:
    runner = harness.start_sync()
    problem = await eventually(lambda: said(runner), lambda problem: "KIP-848" in problem)
    assert f"SYNC_GROUP_ID={harness.settings.sync_group_id}" in problem


async def test_unknown_group_is_suspicious_only_while_this_process_is_a_member(
    harness: SyncHarness,
) -> None:
    """A process that was fenced, or whose group has expired, is in none."""
    members = ForeignMembers(harness.kafka, harness.settings.sync_group_id)
    in_it, in_none = 3, -1
    assert [await members.problem(each) for each in (in_none, in_none, in_it, in_none, in_it)] == [None] * 5
    assert "KIP-848" in (await members.problem(in_it) or "")


async def test_sync_stops_while_the_broker_hangs(harness: SyncHarness, stack: Stack) -> None:
    runner = harness.start_sync()
    await harness.send(harness.tweets_topic, tweet_event(1, "one"))
    await becomes(harness.tweets, {tweet_id(1): "one"})
    stack.pause("kafka")
    try:
        async with asyncio.timeout(30):
            await harness.stop_sync(runner)
    finally:
        stack.resume("kafka")


class Writer:
    """Updates the same tweets, on all partitions, again and again; `latest` is the last round that was sent."""

    TWEETS = 20

    def __init__(self, sync: SyncProcess) -> None:
        self._sync = sync
        self.latest = 0
        self.stopping = False

    async def run(self) -> None:
        while not self.stopping:
            self.latest += 1
            for number in range(self.TWEETS):
                event = own_event(number, op="u", ordinal=self.latest, text=str(self.latest))
                await self._sync.send(self._sync.tweets, event, partition=number % PARTITIONS)
            await asyncio.sleep(0.02)


@pytest.mark.long
async def test_processes_that_join_die_and_hang_under_load_lose_no_event(
    sync: SyncProcess, engine: AsyncEngine
) -> None:
    writer = Writer(sync)

    async def rounds() -> Mapping[str, int]:
        async with engine.connect() as connection:
            return {row.id: int(row.text) for row in await connection.execute(text("SELECT id, text FROM tweets"))}

    async def gets_on() -> None:
        """Every row, to what is sent from now on."""
        now = writer.latest
        await eventually(rounds, lambda seen: len(seen) == Writer.TWEETS and min(seen.values()) > now)

    async def assigned(*replicas: Replica) -> list[int]:
        answers = [await replica.client.get("/v1/status") for replica in replicas]
        return [answer.json()["assigned_partitions"] for answer in answers]

    writing = asyncio.create_task(writer.run())
    async with AsyncExitStack() as processes:
        first = await processes.enter_async_context(sync.running())
        await gets_on()
        second = await processes.enter_async_context(sync.running())
        third = await processes.enter_async_context(sync.running())
        await eventually(lambda: assigned(first, second, third), lambda seen: all(seen) and sum(seen) == 2 * PARTITIONS)
        await gets_on()
        await first.end(signal.SIGKILL)
        await gets_on()
        await eventually(lambda: assigned(second, third), lambda seen: sum(seen) == 2 * PARTITIONS)
        # For as long as it takes the others to get its partitions, which is longer than the session's timeout.
        second.pause()
        await eventually(lambda: assigned(third), lambda seen: seen == [2 * PARTITIONS])
        await gets_on()
        second.resume()
        await eventually(lambda: assigned(second, third), lambda seen: all(seen) and sum(seen) == 2 * PARTITIONS)
        await gets_on()
        writer.stopping = True
        await writing
        await eventually(rounds, lambda seen: set(seen.values()) == {writer.latest})

        async def problems() -> list[str | None]:
            return [(await each.client.get("/v1/status")).json()["problem"] for each in (second, third)]

        await eventually(problems, lambda seen: seen == [None, None])
    code, output, _ = await sync.command("dead-letters", "list", "--route", sync.tweets)
    assert (code, output) == (0, "")
