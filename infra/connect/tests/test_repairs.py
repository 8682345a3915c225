"""The registrar on a real Kafka Connect and a real broker."""

import asyncio
import re
import secrets
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import httpx
import pytest
from motor.motor_asyncio import AsyncIOMotorClient

from embedded_stack import Stack
from registrar.connect_client import ConnectClient
from registrar.topics import TopicDeclaration, ensure_topics
from service_kit.kafka import KafkaClients
from service_kit.kafka_topics import Topic, describe_topics
from support.commands import run_command
from support.polling import eventually
from support.records import read_records


async def test_topics_are_created_once_with_their_partition_counts(kafka_bootstrap_servers: str) -> None:
    name = f"test.{secrets.token_hex(4)}"
    kafka = KafkaClients(kafka_bootstrap_servers)
    declared = {name: TopicDeclaration(partitions=4)}
    assert await ensure_topics(kafka, declared, deadline_seconds=120) == [name]
    assert await ensure_topics(kafka, declared, deadline_seconds=120) == []


async def test_topics_of_a_broker_that_does_not_answer_fail_at_the_deadline() -> None:
    with pytest.raises(TimeoutError, match=r"the broker at 127\.0\.0\.1:1 does not answer: "):
        await ensure_topics(KafkaClients("127.0.0.1:1"), {"x": TopicDeclaration(partitions=1)}, deadline_seconds=1)


async def test_topic_with_other_partitions_does_not_delay_the_start(kafka_bootstrap_servers: str) -> None:
    name, kafka = f"test.{secrets.token_hex(4)}", KafkaClients(kafka_bootstrap_servers)
    await ensure_topics(kafka, {name: TopicDeclaration(partitions=4)}, deadline_seconds=120)
    assert await ensure_topics(kafka, {name: TopicDeclaration(partitions=6)}, deadline_seconds=120) == []


async def test_error_at_the_deadline_names_the_topic_that_can_not_be_created(kafka_bootstrap_servers: str) -> None:
    name, kafka = f"test.{secrets.token_hex(4)}", KafkaClients(kafka_bootstrap_servers)
    reason = f"topic {name} can't be created: REGISTRAR_REPLICATION_FACTOR is 3, but the cluster has 1 broker"
    with pytest.raises(TimeoutError, match=reason):
        await ensure_topics(kafka, {name: TopicDeclaration(partitions=1)}, replication_factor=3, deadline_seconds=2)


async def test_change_events_are_written_to_a_topic_that_was_deleted_and_created_again(running_stack: Stack) -> None:
    addresses, topic = running_stack.addresses, "cdc.mongo.tweets.likes"
    kafka = KafkaClients(addresses["KAFKA_BOOTSTRAP_SERVERS"])
    mongo = AsyncIOMotorClient[dict[str, Any]](addresses["MONGODB_URL"])
    user = str(uuid4())
    async with (
        httpx.AsyncClient(base_url=addresses["REGISTRAR_URL"], timeout=60) as registrar,
        kafka.started(kafka.admin()) as admin,
    ):

        async def ready() -> bool:
            return (await registrar.get("/readyz")).status_code == 200

        async def topic_id() -> str | None:
            found = (await describe_topics(kafka, [topic]))[topic]
            return found.id if isinstance(found, Topic) and len(found.partitions) == 6 else None

        async def write_and_read() -> bool:
            like = {"tweet_id": secrets.token_hex(12), "user_id": user}
            await mongo["tweets"]["likes"].insert_one({"_id": like, "created_at": datetime.now(UTC)})
            found = [await read_records(addresses["KAFKA_BOOTSTRAP_SERVERS"], topic, number) for number in range(6)]
            return any(found)

        await eventually(ready, within=180)
        repairs = [each["repairs"] for each in (await registrar.get("/v1/connectors")).json()]
        deleted = await topic_id()
        await admin.delete_topics([topic])
        await eventually(topic_id, lambda found: found not in (None, deleted))
        await eventually(write_and_read, within=180)
        # Later tests compare the copies with MongoDB.
        await mongo["tweets"]["likes"].delete_many({"_id.user_id": user})
        await eventually(ready, within=180)
        assert [each["repairs"] for each in (await registrar.get("/v1/connectors")).json()] == repairs
    mongo.close()
    # The events of the deleted topic are lost, so the route is in doubt until a comparison finds its copy equal.
    sync = dict(running_stack.components["sync"].command().environment)
    code, output, errors = await run_command("sync-service", "reconcile", "--route", "likes", **sync)
    assert code == 0, output + errors


def repairs_in(metrics: str, action: str, connector: str) -> float:
    counter = rf'^registrar_repairs_total\{{action="{action}",connector="{connector}"\}} (\S+)'
    found = re.search(counter, metrics, re.MULTILINE)
    return float(found[1]) if found else 0.0


async def accepted(ask: Callable[[], Awaitable[httpx.Response]]) -> None:
    """Repeat a request until Connect accepts it: while its workers rebalance it refuses changes."""
    await eventually(ask, lambda answer: answer.is_success)


async def test_connector_that_is_missing_in_connect_is_created_again(running_stack: Stack) -> None:
    async with httpx.AsyncClient(timeout=60) as client:
        connect, registrar = running_stack.addresses["CONNECT_URL"], running_stack.addresses["REGISTRAR_URL"]

        async def readiness() -> httpx.Response:
            return await client.get(f"{registrar}/readyz")

        async def puts() -> float:
            return repairs_in((await client.get(f"{registrar}/metrics")).text, "put", "mongodb-tweets")

        await eventually(readiness, lambda answer: answer.status_code == 200, within=180)
        before = await puts()
        await accepted(lambda: client.delete(f"{connect}/connectors/mongodb-tweets"))
        await eventually(puts, lambda count: count > before)
        ready = await eventually(readiness, lambda answer: answer.status_code == 200, within=180)
        assert ready.json()["checks"] == {"topics": "ok", "mongodb-tweets": "ok", "mysql-users": "ok"}
        metrics = (await client.get(f"{registrar}/metrics")).text
        assert 'registrar_connector_healthy{connector="mongodb-tweets"} 1.0' in metrics
        assert 'registrar_connector_state{connector="mongodb-tweets",state="RUNNING"} 1.0' in metrics
        assert 'registrar_connector_tasks{connector="mongodb-tweets",state="RUNNING"} 1.0' in metrics


async def test_connect_that_does_not_answer_makes_the_states_unknown(running_stack: Stack) -> None:
    async with httpx.AsyncClient(timeout=60) as client:
        registrar = running_stack.addresses["REGISTRAR_URL"]

        async def readiness() -> httpx.Response:
            return await client.get(f"{registrar}/readyz")

        await eventually(readiness, lambda answer: answer.status_code == 200, within=180)
        running_stack.pause("connect")
        try:
            await eventually(readiness, lambda answer: answer.status_code == 503)
            # States of earlier polls are not reported as the current ones.
            reports = (await client.get(f"{registrar}/v1/connectors")).json()
            assert [(each["name"], each["state"]) for each in reports] == [
                ("mongodb-tweets", None),
                ("mysql-users", None),
            ]
            assert all(each["problem"].startswith("unknown (") for each in reports)
            metrics = (await client.get(f"{registrar}/metrics")).text
            assert 'registrar_connector_state{connector="mysql-users",state="UNKNOWN"} 1.0' in metrics
            assert 'registrar_connector_state{connector="mysql-users",state="RUNNING"} 0.0' in metrics
            assert "registrar_failed_looks_total 0.0" not in metrics
        finally:
            running_stack.resume("connect")
        await eventually(readiness, lambda answer: answer.status_code == 200, within=180)
        await asyncio.to_thread(running_stack.start)


@pytest.mark.parametrize(("command", "state"), [("pause", "PAUSED"), ("stop", "STOPPED")])
async def test_connector_halted_by_an_operator_is_reported_and_not_repaired(
    running_stack: Stack, command: str, state: str
) -> None:
    addresses = running_stack.addresses
    async with (
        httpx.AsyncClient(base_url=addresses["CONNECT_URL"], timeout=60) as connect,
        httpx.AsyncClient(base_url=addresses["REGISTRAR_URL"], timeout=60) as registrar,
    ):

        async def readiness() -> httpx.Response:
            return await registrar.get("/readyz")

        async def report() -> dict[str, Any]:
            reports = (await registrar.get("/v1/connectors")).json()
            (report,) = [each for each in reports if each["name"] == "mysql-users"]
            return dict(report)

        await eventually(readiness, lambda answer: answer.status_code == 200, within=180)
        repairs = (await report())["repairs"]
        await accepted(lambda: connect.put(f"/connectors/mysql-users/{command}"))
        halted = await eventually(report, lambda current: current["state"] == state)
        assert halted["problem"].startswith(f"connector {state}: an operator ")
        assert halted["problem"].endswith("PUT /connectors/mysql-users/resume")
        assert "PUT /connectors/mysql-users/resume" in (await readiness()).json()["checks"]["mysql-users"]
        assert (
            f'registrar_connector_state{{connector="mysql-users",state="{state}"}} 1.0'
            in (await registrar.get("/metrics")).text
        )
        if command == "stop":
            # The connector takes a new snapshot.
            await accepted(lambda: connect.delete("/connectors/mysql-users/offsets"))
        await accepted(lambda: connect.put("/connectors/mysql-users/resume"))
        await eventually(readiness, lambda answer: answer.status_code == 200, within=180)
        assert (await report())["repairs"] == repairs


class CutOff(httpx.AsyncHTTPTransport):
    """Forwards requests up to the first one whose path ends with `last`. No later one reaches Connect."""

    def __init__(self, last: str) -> None:
        super().__init__()
        self._last = last
        self._is_cut = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self._is_cut:
            raise httpx.ConnectError("cut off", request=request)
        answer = await super().handle_async_request(request)
        self._is_cut = request.url.path.endswith(self._last) and answer.status_code != 409
        return answer


@pytest.mark.parametrize("last", ["/stop", "/offsets", "/resume"])
async def test_unfinished_reset_is_finished_by_the_next_registrar(running_stack: Stack, last: str) -> None:
    addresses, name = running_stack.addresses, "mysql-users"
    async with (
        httpx.AsyncClient(base_url=addresses["CONNECT_URL"], timeout=60) as connect,
        httpx.AsyncClient(base_url=addresses["CONNECT_URL"], transport=CutOff(last), timeout=60) as cut_off,
        httpx.AsyncClient(base_url=addresses["REGISTRAR_URL"], timeout=60) as registrar,
    ):

        async def readiness() -> httpx.Response:
            return await registrar.get("/readyz")

        async def state() -> str:
            found = (await connect.get(f"/connectors/{name}/status")).json()
            return str(found.get("connector", {}).get("state", "unknown"))

        await eventually(readiness, lambda answer: answer.status_code == 200, within=180)
        config = {
            key: value
            for key, value in (await connect.get(f"/connectors/{name}/config")).json().items()
            if key != "name"
        }
        running_stack.pause("registrar")
        try:
            with pytest.raises(httpx.ConnectError):
                await ConnectClient(cut_off).reset(name, config)
            await eventually(state, lambda current: current == ("RUNNING" if last == "/resume" else "STOPPED"))
        finally:
            running_stack.resume("registrar")

        async def configuration() -> Any:
            return (await connect.get(f"/connectors/{name}/config")).json()

        # Until its next poll the registrar reports the states of its last poll before the pause.
        await eventually(configuration, lambda current: current == {**config, "name": name}, within=180)
        await eventually(state, lambda current: current == "RUNNING", within=180)
        await eventually(readiness, lambda answer: answer.status_code == 200, within=180)
        await asyncio.to_thread(running_stack.start)


async def test_connector_whose_offset_has_no_place_in_the_log_takes_a_new_snapshot(running_stack: Stack) -> None:
    """As one that was stopped at the beginning of its snapshot may leave it."""
    addresses = running_stack.addresses
    async with (
        httpx.AsyncClient(base_url=f"{addresses['CONNECT_URL']}/connectors/mysql-users", timeout=60) as connector,
        httpx.AsyncClient(base_url=addresses["REGISTRAR_URL"], timeout=60) as registrar,
    ):

        async def readiness() -> httpx.Response:
            return await registrar.get("/readyz")

        async def resets() -> float:
            return repairs_in((await registrar.get("/metrics")).text, "reset", "mysql-users")

        await eventually(readiness, lambda answer: answer.status_code == 200, within=180)
        before = await resets()
        offset = {"partition": {"server": "cdc.mysql"}, "offset": {"ts_sec": 1796081967}}
        await accepted(lambda: connector.put("/stop"))
        await accepted(lambda: connector.patch("/offsets", json={"offsets": [offset]}))
        await accepted(lambda: connector.put("/resume"))
        await eventually(resets, lambda count: count > before, within=180)
        await eventually(readiness, lambda answer: answer.status_code == 200, within=180)


async def test_connector_whose_schema_history_is_lost_takes_a_new_snapshot(running_stack: Stack) -> None:
    addresses, topic = running_stack.addresses, "cdc.mysql.schema-history"
    kafka = KafkaClients(addresses["KAFKA_BOOTSTRAP_SERVERS"])
    async with (
        httpx.AsyncClient(base_url=addresses["CONNECT_URL"], timeout=60) as connect,
        httpx.AsyncClient(base_url=addresses["REGISTRAR_URL"], timeout=60) as registrar,
        kafka.started(kafka.admin()) as admin,
    ):

        async def readiness() -> httpx.Response:
            return await registrar.get("/readyz")

        async def resets() -> float:
            return repairs_in((await registrar.get("/metrics")).text, "reset", "mysql-users")

        await eventually(readiness, lambda answer: answer.status_code == 200, within=180)
        before = await resets()
        await admin.delete_topics([topic])
        await accepted(lambda: connect.post("/connectors/mysql-users/restart?includeTasks=true"))
        await eventually(resets, lambda count: count > before, within=180)
        await eventually(readiness, lambda answer: answer.status_code == 200, within=180)
        # The readiness may still come from heartbeats before the snapshot, so the new history is awaited, too.
        await eventually(lambda: read_records(addresses["KAFKA_BOOTSTRAP_SERVERS"], topic))
