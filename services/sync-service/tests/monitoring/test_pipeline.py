"""`/v1/pipeline` of a process of its own; `tests/e2e/test_pipeline.py` has it with connectors."""

import re
from collections.abc import Mapping
from typing import Any

import httpx
import pytest
from aiokafka.errors import KafkaConnectionError
from fastapi import FastAPI

from service_kit.kafka import KafkaClients
from support.jwt_issuer import Issuer
from support.polling import eventually
from support.sync_process import PARTITIONS, SyncProcess, tweet_event
from sync_service.monitoring.pipeline.broker import BrokerProbe, PartitionState
from sync_service.monitoring.pipeline.connectors import ConnectorProbe
from sync_service.monitoring.pipeline.schemas import Connector
from sync_service.monitoring.pipeline.service import Pipeline, connector_of
from sync_service.probe import ProbeFailed
from sync_service.routes.schemas import route_state
from sync_service.sinks.registry import observers

NOWHERE = "127.0.0.1:1"


def routes_of(told: dict[str, Any]) -> dict[str, Any]:
    return {route["name"]: route for route in told["routes"]}


async def test_state_of_every_part_and_progress_of_the_group_are_reported(sync: SyncProcess) -> None:
    async with sync.running() as replica:
        await sync.send(sync.tweets, *(tweet_event(number) for number in range(3)))
        await sync.send(sync.tweets, (b"k", b"broken"), partition=1)

        async def pipeline() -> dict[str, Any]:
            answer = await replica.client.get("/v1/pipeline")
            assert answer.status_code == 200, answer.text
            told: dict[str, Any] = answer.json()
            return told

        def is_done(told: dict[str, Any]) -> bool:
            route = routes_of(told)[sync.tweets]
            # A busy store may not answer the first request in time.
            stores_answer = all(store["answers"] for store in told["stores"])
            return bool(route["done"] == 4 and route["open_dead_letters"] == 1 and stores_answer)

        told = await eventually(pipeline, is_done)
        users, tweets = (routes_of(told)[name] for name in (sync.users, sync.tweets))
        assert (tweets["source"], tweets["source_name"]) == ("mongodb", f"test.{sync.tweets}")
        assert (tweets["state"], tweets["lag"], tweets["connector"]) == ("up to date", 0, None)
        assert (users["state"], users["done"], users["open_dead_letters"]) == ("up to date", 0, 0)
        assert {store["name"]: store["answers"] for store in told["stores"]} == {"mysql": True, "mongodb": True}
        assert told["connectors"] == {"items": None, "reason": "REGISTRAR_URL is not set"}
        assert (told["broker"]["members"], told["broker"]["reason"]) == (1, None)
        topics = {topic["name"]: topic for topic in told["broker"]["topics"]}
        topic = topics[sync.topic(sync.tweets)]
        assert len(topic["partitions"]) == PARTITIONS
        assert [(each["begin"], each["end"], each["committed"], each["lag"]) for each in topic["partitions"]] == [
            (0, 3, 3, 0),
            (0, 1, 1, 0),
        ]
        assert (told["problem"], told["dead_letters_reason"]) == (None, None)


async def test_part_without_an_answer_is_null_with_the_reason(issuer: Issuer) -> None:
    async def letters() -> Mapping[str, int]:
        raise KafkaConnectionError("no broker")

    stores = observers("mysql://nobody@127.0.0.1:1/tweets", f"mongodb://{NOWHERE}/tweets")
    async with httpx.AsyncClient(trust_env=False) as http:
        pipeline = Pipeline(
            ConnectorProbe(f"http://{NOWHERE}", http),
            BrokerProbe(KafkaClients(NOWHERE), lambda: ["t"], "g"),
            stores,
            letters,
        )
        for _ in range(2):
            seen = await pipeline.snapshot()
            assert seen.connectors.value is seen.broker.value is seen.letters.value is None
            assert "ConnectError" in (seen.connectors.reason or "")
            assert (seen.broker.reason or "").startswith(f"the broker at {NOWHERE} does not answer: ")
            assert seen.letters.reason == "KafkaConnectionError: no broker"
            assert "2003" in (seen.stores["mysql"].reason or "")
            # Whichever comes first: the driver gives up, or who asks it does.
            assert re.search("ServerSelectionTimeoutError|^no answer within", seen.stores["mongodb"].reason or "")
        await pipeline.close()
        with pytest.raises(ProbeFailed, match="ValidationError"):
            # It answers, but with something else.
            await ConnectorProbe(issuer.url, http).probe()
    for store in stores.values():
        await store.close()


async def test_connector_that_fails_and_setting_that_endangers_the_order_are_named() -> None:
    async def letters() -> Mapping[str, int]:
        return {"t": 3, "of a former route": 1}

    connector = Connector(
        name="mysql-users",
        topic_prefix="cdc.mysql",
        problem=None,
        source_problem="MySQL: gtid_mode is OFF",
        state="RUNNING",
        task_states=["RUNNING"],
        failure=None,
        repairs=0,
        heartbeat_age_seconds=1.0,
        rows_awaited=["auth.new"],
    )
    # A registrar of the last release does not report it.
    other = {name: value for name, value in connector.model_dump().items() if name != "source_problem"}
    failed = {**other, "name": "mongodb-tweets", "topic_prefix": "cdc.mongo", "problem": "its task has failed"}
    registrar = FastAPI()
    registrar.get("/v1/connectors")(lambda: [connector.model_dump(), failed])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(registrar), base_url="http://registrar") as http:
        pipeline = Pipeline(
            ConnectorProbe("http://registrar", http),
            BrokerProbe(KafkaClients(NOWHERE), lambda: ["t"], "g"),
            {},
            letters,
        )
        assert await pipeline.connector_problems() == (
            "mysql-users: MySQL: gtid_mode is OFF; mongodb-tweets: its task has failed"
        )
        assert await pipeline.open_dead_letters({"t": "tweets", "u": "users"}) == "open dead letters: tweets 3"
        assert await pipeline.open_dead_letters({"u": "users"}) is None
        topics = ["cdc.mysql.auth.users", "cdc.mysql.auth.new", "cdc.mongo.tweets.likes", "other"]
        assert await pipeline.incomplete(topics) == {
            "cdc.mysql.auth.new": "a snapshot copies its rows",
            "cdc.mongo.tweets.likes": "mongodb-tweets does not work",
        }
        await pipeline.close()
    async with httpx.AsyncClient(trust_env=False) as http:
        unknown = Pipeline(
            ConnectorProbe(f"http://{NOWHERE}", http),
            BrokerProbe(KafkaClients(NOWHERE), lambda: ["t"], "g"),
            {},
            letters,
        )
        assert await unknown.connector_problems() is None
        assert await unknown.incomplete(["cdc.mysql.auth.users"]) == {
            "cdc.mysql.auth.users": "the registrar does not answer"
        }
        await unknown.close()


async def test_missing_topic_is_reported_and_not_created(kafka_bootstrap_servers: str) -> None:
    broker = BrokerProbe(KafkaClients(kafka_bootstrap_servers), lambda: ["test.absent"], "test-probe")
    for _ in range(2):
        state = await broker.probe()
        assert [(topic.name, list(topic.partitions)) for topic in state.topics] == [("test.absent", [])]
        assert state.members == 0
    await broker.close()


@pytest.mark.parametrize(
    ("begin", "end", "committed", "done", "lag"),
    [
        (0, 10, 4, 4, 6),
        (0, 10, None, 0, 10),
        (7, 10, None, 7, 3),
        (7, 10, 4, 7, 3),  # records that were deleted unread are no lag
        (0, 9, 10, 10, 0),
    ],
)
def test_lag_counts_kept_events_that_are_not_applied(
    begin: int, end: int, committed: int | None, done: int, lag: int
) -> None:
    state = PartitionState(0, begin, end, committed)
    assert (state.done, state.lag) == (done, lag)


def connector(name: str, prefix: str) -> Connector:
    return Connector(
        name=name,
        topic_prefix=prefix,
        problem=None,
        state="RUNNING",
        task_states=["RUNNING"],
        failure=None,
        repairs=0,
        heartbeat_age_seconds=1.0,
    )


def test_topic_belongs_to_the_connector_with_the_longest_prefix() -> None:
    connectors = [connector("all", "cdc"), connector("shop", "cdc.mysql-shop"), connector("mysql", "cdc.mysql")]
    every, shop, mysql = connectors
    assert connector_of("cdc.mysql.auth.users", connectors) is mysql
    assert connector_of("cdc.mysql-shop.shop.products", connectors) is shop
    assert connector_of("cdc.mongo.tweets.likes", connectors) is every
    assert connector_of("other", connectors) is None


@pytest.mark.parametrize(
    ("lag", "blocked_by", "state"),
    [(0, None, "up to date"), (3, None, "catching up"), (3, "MySQL: away", "blocked"), (None, None, "unknown")],
)
def test_route_state(lag: int | None, blocked_by: str | None, state: str) -> None:
    assert route_state(lag, blocked_by) == state
