"""`/v1/status`, which is public."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from aiokafka import TopicPartition

from embedded_stack import Stack
from support.polling import eventually
from support.sync_harness import SyncHarness, becomes, tweet_id
from support.sync_process import SyncProcess, tweet_event
from sync_service.kafka.gaps import KnownGap
from sync_service.kafka.lag import LagReader
from sync_service.monitoring.status import lag as lag_module
from sync_service.monitoring.status.endpoints import without_driver_details
from sync_service.monitoring.status.lag import CachedLag
from sync_service.monitoring.status.schemas import as_gaps


async def test_status_names_a_dependency_without_its_drivers_message(sync: SyncProcess, stack: Stack) -> None:
    async with sync.running() as replica:
        stack.kill("mysql")
        try:
            await sync.send(sync.tweets, tweet_event(1))

            async def blocked() -> Any:
                public = (await replica.client.get("/v1/status", headers={"Authorization": ""})).json()
                (reason,) = [each["blocked_by"] for each in public["routes"] if each["name"] == sync.tweets]
                return reason and (public["problem"], reason)

            assert await eventually(blocked) == (f"{sync.tweets}: MySQL", "MySQL")
            # Who works here gets to know why.
            public = (await replica.client.get("/v1/pipeline")).json()
            assert public["problem"].startswith(f"{sync.tweets}: MySQL: ")
        finally:
            await asyncio.to_thread(stack.start, "mysql")


async def test_callers_share_one_request_for_the_ends_of_the_partitions(
    harness: SyncHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner, requests = harness.start_sync(), 0
    ends = LagReader.ends

    async def counted(reader: LagReader) -> Mapping[TopicPartition, int]:
        nonlocal requests
        requests += 1
        return await ends(reader)

    monkeypatch.setattr(LagReader, "ends", counted)
    monkeypatch.setattr(lag_module, "ENDS_SECONDS", 3600)
    lag = CachedLag(lambda: runner.member.lag)
    # Each partition that is placed meanwhile is asked for.
    await becomes(lag.by_topic, {harness.users_topic: 0, harness.tweets_topic: 0})
    requests = 0
    await harness.send(harness.tweets_topic, tweet_event(1, text="one"))
    await becomes(harness.tweets, {tweet_id(1): "one"})
    lags = await asyncio.gather(*(lag.by_topic() for _ in range(100)))
    assert lags == [{harness.users_topic: 0, harness.tweets_topic: 0}] * 100
    assert requests == 0
    await lag.close()


@pytest.mark.parametrize(
    ("problem", "public"),
    [
        (None, None),
        ("not started yet", "not started yet"),
        ("Kafka: KafkaConnectionError: Unable to bootstrap from [('10.0.0.7', 9092)]", "Kafka"),
        (
            "users: MongoDB: AutoReconnect: 10.0.0.5:27017; tweets: MySQL: 1045: user 'x'@'y'",
            "users: MongoDB; tweets: MySQL",
        ),
    ],
)
def test_public_problem_ends_at_the_colon(problem: str | None, public: str | None) -> None:
    blocked = {"users": "MongoDB: AutoReconnect: 10.0.0.5:27017", "tweets": "MySQL: 1045: user 'x'@'y'", "likes": None}
    assert without_driver_details(problem, blocked) == public


def test_public_gap_names_no_operator() -> None:
    found = datetime(2026, 11, 30, tzinfo=UTC)
    skipped = KnownGap("t", "id", 0, 4, 10, "skipped by boss", "skipped", found_at=found)
    lost = KnownGap("t", "id", 0, 0, 4, "they were deleted before they were read", found_at=found)
    assert [gap.reason for gap in as_gaps([skipped, lost], with_details=False)] == [
        "skipped by an operator",
        lost.reason,
    ]
    assert [gap.reason for gap in as_gaps([skipped, lost])] == [skipped.reason, lost.reason]
