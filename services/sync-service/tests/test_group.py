"""The consumer group: who is in it besides the sync, and processes that die, hang and come back."""

import subprocess
from collections.abc import Iterator

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.client import AIOKafkaClient, CoordinationType
from aiokafka.errors import GroupCoordinatorNotAvailableError
from aiokafka.protocol.group import JoinGroupRequest

from embedded_stack import Stack
from sync_bench import Bench, becomes, tweet_event, tweet_id
from sync_service.consumer import group
from sync_service.consumer.operation import SyncOperation
from waiting import eventually


async def said(operation: SyncOperation) -> str:
    return operation.problem or ""


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


async def test_group_of_another_kind_is_named(bench: Bench) -> None:
    """As if the sync had the group of Kafka Connect's workers."""
    group_id = bench.settings.sync_group_id
    async with bench.kafka.started(bench.kafka.client()) as client:
        node, member_id = await coordinator_of(client, group_id), ""

        async def join() -> int:
            nonlocal member_id
            request = JoinGroupRequest(group_id, 10_000, 10_000, member_id, None, "connect", [("default", b"x")])
            answer = await client.send(node, request)
            member_id = answer.member_id
            return int(answer.error_code)

        # It is given an id first, and the coordinator may be loading.
        await eventually(join, lambda error_code: error_code == 0)
        operation = bench.start_sync()
        await eventually(lambda: said(operation), lambda problem: f"SYNC_GROUP_ID={group_id} is in use" in problem)
    # It dies, and the sync tries again.
    await bench.send(bench.tweets_topic, tweet_event(1, "one"))
    await becomes(bench.tweets, {tweet_id(1): "one"})
    await becomes(lambda: said(operation), "")


@pytest.fixture
def watchful(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group, "TOPICS_CHECK_SECONDS", 0.5)
    monkeypatch.setattr(group, "MEMBERS_CHECK_SECONDS", 1.0)


@pytest.mark.usefixtures("watchful")
async def test_foreign_consumer_in_the_group_is_named_until_it_leaves(bench: Bench) -> None:
    operation = bench.start_sync()
    other = bench.start_sync()
    await bench.send(bench.tweets_topic, tweet_event(1, "one"))
    await becomes(bench.tweets, {tweet_id(1): "one"})
    async with AIOKafkaConsumer(
        bench.tweets_topic,
        bootstrap_servers=bench.settings.kafka_bootstrap_servers,
        group_id=bench.settings.sync_group_id,
        client_id="a curious consumer",
    ):
        problem = await eventually(lambda: said(operation), lambda problem: "no sync-service" in problem)
        assert "(a curious consumer at 127.0.0.1)" in problem
        assert "SYNC_GROUP_ID" in problem
    for each in (operation, other):
        await becomes(lambda each=each: said(each), "")


@pytest.fixture
def new_protocol(bench: Bench, stack: Stack) -> Iterator[None]:
    """A member of the sync's group by the protocol of KIP-848, which only the Java client speaks."""
    command = list(stack.components["kafka"].command().argv)
    class_path = command[command.index("-cp") + 1]
    consumer = subprocess.Popen(
        [
            *(command[0], "-cp", class_path, "org.apache.kafka.tools.consumer.ConsoleConsumer"),
            *("--bootstrap-server", bench.settings.kafka_bootstrap_servers, "--topic", bench.tweets_topic),
            *("--group", bench.settings.sync_group_id, "--command-property", "group.protocol=consumer"),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    yield
    consumer.terminate()
    consumer.wait(30)


@pytest.mark.usefixtures("watchful", "new_protocol")
async def test_member_by_the_new_group_protocol_is_named(bench: Bench) -> None:
    operation = bench.start_sync()
    problem = await eventually(lambda: said(operation), lambda problem: "KIP-848" in problem)
    assert f"SYNC_GROUP_ID={bench.settings.sync_group_id}" in problem
