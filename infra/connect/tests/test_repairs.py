"""The registrar on a real Kafka Connect and a real broker."""

import asyncio
import secrets

import httpx
import pytest

from embedded_stack import Stack
from registrar.topics import TopicDeclaration, TopicMismatch, ensure_topics
from service_kit.kafka import KafkaClients
from waiting import eventually


async def test_topics_are_created_once_with_their_partition_counts(kafka_bootstrap_servers: str) -> None:
    name = f"test.{secrets.token_hex(4)}"
    kafka = KafkaClients(kafka_bootstrap_servers)
    declared = {name: TopicDeclaration(partitions=4)}
    assert await ensure_topics(kafka, declared, deadline_seconds=20) == [name]
    assert await ensure_topics(kafka, declared, deadline_seconds=20) == []
    with pytest.raises(TopicMismatch, match=f"topic {name} has 4 partitions instead of 6"):
        await ensure_topics(kafka, {name: TopicDeclaration(partitions=6)}, deadline_seconds=20)


async def test_broker_that_does_not_answer_ends_at_the_deadline() -> None:
    with pytest.raises(TimeoutError, match=r"the broker at 127\.0\.0\.1:1 does not answer: "):
        await ensure_topics(KafkaClients("127.0.0.1:1"), {"x": TopicDeclaration(partitions=1)}, deadline_seconds=1)


async def test_connector_that_connect_has_lost_is_put_back(running_stack: Stack) -> None:
    async with httpx.AsyncClient(timeout=20) as client:
        connect, registrar = running_stack.addresses["CONNECT_URL"], running_stack.addresses["REGISTRAR_URL"]

        async def readiness() -> httpx.Response:
            return await client.get(f"{registrar}/readyz")

        await eventually(readiness, lambda answer: answer.status_code == 200, within=180)
        assert (await client.delete(f"{connect}/connectors/mongodb-tweets")).status_code == 204
        await eventually(readiness, lambda answer: answer.status_code == 503)
        ready = await eventually(readiness, lambda answer: answer.status_code == 200, within=180)
        assert ready.json()["checks"] == {"mongodb-tweets": "ok", "mysql-users": "ok"}
        metrics = (await client.get(f"{registrar}/metrics")).text
        assert 'registrar_connector_healthy{connector="mongodb-tweets"} 1.0' in metrics
        assert 'registrar_repairs_total{action="put",connector="mongodb-tweets"}' in metrics
        assert 'registrar_connector_state{connector="mongodb-tweets",state="RUNNING"} 1.0' in metrics
        assert 'registrar_connector_tasks{connector="mongodb-tweets",state="RUNNING"} 1.0' in metrics


async def test_paused_connect_is_noticed_although_nothing_failed(running_stack: Stack) -> None:
    async with httpx.AsyncClient(timeout=20) as client:
        registrar = running_stack.addresses["REGISTRAR_URL"]

        async def readiness() -> httpx.Response:
            return await client.get(f"{registrar}/readyz")

        await eventually(readiness, lambda answer: answer.status_code == 200, within=180)
        running_stack.pause("connect")
        try:
            await eventually(readiness, lambda answer: answer.status_code == 503)
            # What was seen before it paused is not told as if it were so still.
            told = (await client.get(f"{registrar}/v1/connectors")).json()
            assert [(each["name"], each["state"]) for each in told] == [("mongodb-tweets", None), ("mysql-users", None)]
            assert all(each["problem"].startswith("unknown (") for each in told)
            metrics = (await client.get(f"{registrar}/metrics")).text
            assert 'registrar_connector_state{connector="mysql-users",state="UNKNOWN"} 1.0' in metrics
            assert 'registrar_connector_state{connector="mysql-users",state="RUNNING"} 0.0' in metrics
            assert "registrar_failed_looks_total 0.0" not in metrics
        finally:
            running_stack.resume("connect")
        await eventually(readiness, lambda answer: answer.status_code == 200, within=180)
        await asyncio.to_thread(running_stack.start)
