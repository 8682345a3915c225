"""The registrar as an application of the test's own: on a real broker, and on a Kafka Connect that is real wherever it
can be brought to answer so.
"""

import json
import secrets
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import httpx
import pytest
from aiokafka.admin import AIOKafkaAdminClient

from embedded_stack import Stack
from registrar.connectors import Connector
from registrar.main import create_app
from registrar.settings import Settings
from registrar.topics import TopicDeclaration
from waiting import eventually

PASSWORD = f"secret-{secrets.token_hex(8)}"


@dataclass
class OddConnect:
    """Stands in for a Kafka Connect of a later version: it tells what the test says, and takes what it is given."""

    url: str
    told: Any


@contextmanager
def odd_connect(told: Any) -> Iterator[OddConnect]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(json.dumps(connect.told).encode())

        def do_PUT(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self._answer(b"{}")

        def _answer(self, body: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    connect = OddConnect(f"http://127.0.0.1:{server.server_port}", told)
    Thread(target=server.serve_forever, daemon=True).start()
    yield connect
    server.shutdown()
    server.server_close()


@asynccontextmanager
async def registrar(
    servers: str, connect_url: str, connectors: Sequence[Connector], **changed: Any
) -> AsyncIterator[httpx.AsyncClient]:
    settings = Settings(kafka_bootstrap_servers=servers, connect_url=connect_url, registrar_poll_seconds=0.1, **changed)
    heartbeats = {connector.heartbeat_topic: TopicDeclaration(partitions=1) for connector in connectors}
    app = create_app(settings, connectors, heartbeats)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://registrar") as client,
    ):
        yield client


async def checks(client: httpx.AsyncClient) -> dict[str, str]:
    told: dict[str, str] = (await client.get("/readyz")).json()["checks"]
    return told


async def test_no_answer_of_connect_ends_the_watch_or_is_repeated_with_its_passwords(
    kafka_bootstrap_servers: str,
) -> None:
    config = {"topic.prefix": f"test-{secrets.token_hex(4)}", "database.password": PASSWORD}
    status = {"connector": {"state": "RUNNING"}, "tasks": [{"id": 0}]}
    with odd_connect({"mysql": {"info": {"config": config}, "status": status}}) as connect:
        async with registrar(kafka_bootstrap_servers, connect.url, [Connector("mysql", config)]) as client:

            async def problem() -> str:
                return (await checks(client))["mysql"]

            await eventually(problem, lambda told: "KeyError" in told)
            connect.told = ["mysql"]
            await eventually(problem, lambda told: "AttributeError" in told)
            connect.told = {"mysql": {"status": {}, "info": {"config": config}}}
            told = await eventually(problem, lambda told: "ValueError" in told)
            assert told == "unknown (ValueError: Connect's answer is not understood; it has info, status)"
            connect.told = {}
            await eventually(problem, lambda told: told == "not registered")


async def test_connector_that_connect_refuses_says_why_and_the_other_one_is_watched_on(running_stack: Stack) -> None:
    addresses = running_stack.addresses
    async with httpx.AsyncClient(base_url=addresses["CONNECT_URL"], timeout=20) as connect:
        there = [
            Connector(name, {key: value for key, value in config.items() if key != "name"})
            for name in ("mongodb-tweets", "mysql-users")
            for config in [(await connect.get(f"/connectors/{name}/config")).json()]
        ]
    refused = Connector("refused", {**there[1].config, "database.password": PASSWORD})
    async with registrar(addresses["KAFKA_BOOTSTRAP_SERVERS"], addresses["CONNECT_URL"], [there[0], refused]) as client:

        def is_told(told: dict[str, str]) -> bool:
            return told["mongodb-tweets"] == "ok" and "Access denied" in told["refused"]

        told = await eventually(lambda: checks(client), is_told)
        assert told["refused"].startswith("Connect refuses it: 400 Connector configuration is invalid")
        assert PASSWORD not in told["refused"]
        assert f"'{refused.config['database.user']}'" not in told["refused"]
        # At the looks between two attempts, too.
        ages: set[float] = set()

        async def looks() -> int:
            assert is_told(await checks(client))
            ages.add((await client.get("/v1/connectors")).json()[0]["heartbeat_age_seconds"])
            return len(ages)

        await eventually(looks, lambda count: count > 5)


async def test_what_connect_repeats_of_a_configuration_is_blotted_out(running_stack: Stack) -> None:
    config = {
        "connector.class": "io.debezium.connector.mongodb.MongoDbConnector",
        "topic.prefix": f"test-{secrets.token_hex(4)}",
        "mongodb.connection.string": f"mongo://ada:{PASSWORD}/x@nowhere",
    }
    addresses = running_stack.addresses
    async with registrar(
        addresses["KAFKA_BOOTSTRAP_SERVERS"], addresses["CONNECT_URL"], [Connector("refused", config)]
    ) as client:
        told = await eventually(lambda: checks(client), lambda told: "refuses" in told["refused"])
        assert "mongodb.connection.string" in told["refused"]
        assert PASSWORD not in told["refused"]
        assert len(told["refused"]) < 600


async def test_no_proxy_of_the_environment_is_asked_for_connect(
    kafka_bootstrap_servers: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    connector = Connector("mysql", {"topic.prefix": f"test-{secrets.token_hex(4)}"})
    with odd_connect({}) as connect:
        async with registrar(kafka_bootstrap_servers, connect.url, [connector]) as client:
            await eventually(lambda: checks(client), lambda told: told["mysql"] == "not registered")


async def test_topics_are_made_with_as_many_replicas_as_are_set(kafka_bootstrap_servers: str) -> None:
    connector = Connector("mysql", {"topic.prefix": f"test-{secrets.token_hex(4)}"})
    with odd_connect({}) as connect:
        async with registrar(
            kafka_bootstrap_servers, connect.url, [connector], registrar_replication_factor=3
        ) as client:
            await eventually(lambda: checks(client), lambda told: told["mysql"] == "not registered")
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka_bootstrap_servers)
    await admin.start()
    try:
        (topic,) = await admin.describe_topics([connector.heartbeat_topic])
    finally:
        await admin.close()
    assert [len(partition["replicas"]) for partition in topic["partitions"]] == [3]


async def test_connectors_make_topics_with_as_many_replicas(running_stack: Stack) -> None:
    async with httpx.AsyncClient(base_url=running_stack.addresses["CONNECT_URL"], timeout=20) as connect:
        for name in ("mongodb-tweets", "mysql-users"):
            config = (await connect.get(f"/connectors/{name}/config")).json()
            assert config["topic.creation.default.replication.factor"] == "1"
