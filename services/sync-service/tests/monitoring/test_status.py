"""`/v1/status`, which is public."""

import asyncio
from typing import Any

import pytest

from embedded_stack import Stack
from support.polling import eventually
from support.sync_process import SyncProcess, tweet_event
from sync_service.monitoring.status.endpoints import without_driver_details


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
