"""The registrar as an application in the test, on a real broker.

Kafka Connect is real, too, except where the real one can't be made to give the answer that a test needs.
"""

import asyncio
import contextlib
import json
import re
import secrets
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import httpx
import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError
from sqlalchemy import text

from embedded_stack import Stack, temporary_stack
from registrar import reconcile_loop, topics
from registrar.broker import Broker
from registrar.captured import NOTIFICATIONS, SIGNALS
from registrar.connect_client import ConnectClient
from registrar.connectors import Connector
from registrar.main import create_app
from registrar.settings import Settings
from registrar.snapshots import SnapshotLog
from registrar.topics import TopicDeclaration, TopicReconciler
from service_kit.kafka import KafkaClients
from service_kit.mysql import create_engine
from service_kit.retry import Backoff
from support.connector import declared_connectors
from support.polling import eventually
from support.records import read_records
from support.task_failures import restarts

# A constant, because it is in the ids of tests, which must be the same in each test process.
PASSWORD = "secret-8d1f0b7c5e"
HEARTBEAT_LIMIT = 2.0
ROWS_OF_THE_LARGE_TABLE = 400_000
INSERT_ROWS = (
    "INSERT INTO items WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :rows) "
    "SELECT i, REPEAT('x', 200) FROM n"
)


@dataclass
class FakeConnect:
    """Gives the answer that the test sets, and accepts every change."""

    url: str
    answer: Any
    changes: list[str] = field(default_factory=list)
    refuses_to_delete: bool = False
    offsets: list[Any] = field(default_factory=lambda: [{"offset": {"resume_token": "00"}}])


@contextmanager
def fake_connect(answer: Any) -> Iterator[FakeConnect]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            is_offsets = self.path.endswith("/offsets")
            self._send(json.dumps({"offsets": connect.offsets} if is_offsets else connect.answer).encode())

        def do_PUT(self) -> None:
            connect.changes.append(f"{self.command} {self.path}")
            self.rfile.read(int(self.headers["Content-Length"]))
            self._send(b"{}")

        do_POST = do_PUT  # noqa: N815 - as http.server has it

        def do_DELETE(self) -> None:
            connect.changes.append(f"{self.command} {self.path}")
            if connect.refuses_to_delete:
                self._send(b"{}", status=500)
                return
            connect.answer.pop(self.path.rpartition("/")[2])
            self._send(b"")

        def _send(self, body: bytes, status: int = 200) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    connect = FakeConnect(f"http://127.0.0.1:{server.server_port}", answer)
    Thread(target=server.serve_forever, daemon=True).start()
    yield connect
    server.shutdown()
    server.server_close()


def plain_config() -> dict[str, str]:
    return {"connector.class": "x.Y", "topic.prefix": f"test-{secrets.token_hex(4)}", "heartbeat.interval.ms": "2000"}


def running(connector: Connector) -> dict[str, Any]:
    """Connect's answer for a connector that runs."""
    status = {"connector": {"state": "RUNNING"}, "tasks": [{"id": 0, "state": "RUNNING"}]}
    return {connector.name: {"info": {"config": dict(connector.config)}, "status": status}}


# What the registrar waits for, while the declarations change.
AWAITED: list[tuple[Any, str]] = [
    (ConnectClient, "connectors"),
    (ConnectClient, "offsets"),
    (ConnectClient, "put"),
    (Broker, "poll"),
    (TopicReconciler, "_existing"),
    (TopicReconciler, "_create"),
    (TopicReconciler, "_align_settings"),
    (SnapshotLog, "refresh"),
    (SnapshotLog, "signal"),
    (reconcile_loop, "missing_rights"),
    (reconcile_loop, "source_problem"),
    (reconcile_loop, "stream_problem"),
]


@pytest.mark.long
async def test_connectors_and_topics_may_vanish_while_the_registrar_waits(
    kafka_bootstrap_servers: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first wait of each kind sees other declarations at its end than at its beginning."""
    asks_for = {"signal.enabled.channels": "kafka", "notification.enabled.channels": "sink"}

    def declared(kind: str) -> Connector:
        config = {**plain_config(), **asks_for, "collection.include.list": "shop.a"}
        prefix = config["topic.prefix"]
        topics = {SIGNALS: f"{prefix}.signals", NOTIFICATIONS: f"{prefix}.notifications"}
        reads_mongodb = {"connector.class": "io.debezium.connector.mongodb.MongoDbConnector"}
        return Connector(f"{kind}-{prefix}", {**config, **topics, **reads_mongodb})

    def topics_of(connectors: list[Connector]) -> dict[str, TopicDeclaration]:
        names = [(each.heartbeat_topic, each.config[SIGNALS], each.config[NOTIFICATIONS]) for each in connectors]
        return {topic: TopicDeclaration(partitions=1, config={"retention.ms": "3600000"}) for topic in sum(names, ())}

    gone = [declared("gone") for _ in AWAITED]
    connectors = [*gone, declared("kept")]
    states = {name: state for each in connectors for name, state in running(each).items()}
    still_to_wait = {name for _, name in AWAITED}

    def changing(name: str, work: Any) -> Any:
        async def change(*arguments: Any, **named: Any) -> Any:
            if name in still_to_wait:
                still_to_wait.remove(name)
                # One vanishes, the others stay, and a new one comes.
                connectors.pop(0)
                connectors.append(declared("new"))
                app.state.registrar.declare(connectors, topics_of(connectors))
            return await work(*arguments, **named)

        return change

    async def waits() -> set[str]:
        return still_to_wait

    def is_checked(found: dict[str, str]) -> bool:
        names = {"topics", *(each.name for each in connectors)}
        return found.keys() == names and found["topics"] == "ok" and "not checked yet" not in found.values()

    for owner, name in AWAITED:
        monkeypatch.setattr(owner, name, changing(name, getattr(owner, name)))
    # Everything is checked often.
    for constant in ("CHECK_SECONDS", "RIGHTS_SECONDS", "_SNAPSHOT_SECONDS"):
        monkeypatch.setattr(reconcile_loop, constant, 0.05)
    monkeypatch.setattr(topics, "_SETTINGS_SECONDS", 0.0)
    with fake_connect(states) as connect:
        settings = Settings(
            kafka_bootstrap_servers=kafka_bootstrap_servers,
            connect_url=connect.url,
            registrar_poll_seconds=0.05,
            registrar_heartbeat_limit_seconds=0.05,
        )
        app = create_app(settings, connectors, topics_of(connectors))
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://registrar") as client,
        ):
            await eventually(waits, lambda left: not left)
            await eventually(lambda: checks(client), is_checked)
            assert await restarts(client, "connectors") == 0
            # Counters stay.
            series = [line for line in (await client.get("/metrics")).text.splitlines() if "repairs" not in line]
            prefixes = [each.config["topic.prefix"] for each in gone]
            assert [line for line in series if any(prefix in line for prefix in prefixes)] == []
    assert "Traceback" not in capsys.readouterr().out


async def test_generated_connector_whose_source_is_gone_is_deleted_and_all_others_stay(
    kafka_bootstrap_servers: str,
) -> None:
    declared = Connector("declared", plain_config()).generated_by("tandem-a")
    gone = Connector("gone", plain_config()).generated_by("tandem-a")
    others = [
        Connector("own", plain_config()),
        Connector("another-registrars", plain_config()).generated_by("tandem-b"),
        Connector("copy-of-gone", gone.config),
    ]
    answer = {"sink": {"info": {"config": {"connector.class": "x.Sink"}}, "status": {}}, "odd": {}}
    for each in [declared, gone, *others]:
        answer |= running(each)
    with fake_connect(answer) as connect:
        async with registrar(
            kafka_bootstrap_servers,
            connect.url,
            [declared],
            registrar_name="tandem-a",
            registrar_heartbeat_limit_seconds=60,
        ) as client:
            await eventually(lambda: _list(connect.changes))
            found = await eventually(lambda: checks(client), lambda found: found["declared"] == "no heartbeat yet")
            assert found.keys() == {"topics", "declared"}
        assert connect.changes == ["DELETE /connectors/gone"]
        assert connect.answer.keys() == {"sink", "odd", "declared", *(each.name for each in others)}


def with_signals(*collections: str) -> dict[str, str]:
    """The settings of a connector that can be asked for rows."""
    config = plain_config()
    channels = {"signal.enabled.channels": "kafka", "notification.enabled.channels": "sink"}
    topics = {SIGNALS: f"{config['topic.prefix']}.signals", NOTIFICATIONS: f"{config['topic.prefix']}.notifications"}
    return {**config, **channels, **topics, "collection.include.list": ",".join(collections)}


def signal_topics(config: Mapping[str, str]) -> dict[str, TopicDeclaration]:
    return {config[each]: TopicDeclaration(partitions=1) for each in (SIGNALS, NOTIFICATIONS)}


async def test_what_a_connector_captured_is_noted_once_although_connect_refuses_to_delete_it(
    kafka_bootstrap_servers: str,
) -> None:
    config = with_signals("shop.a")
    gone = Connector("gone", config).generated_by("tandem-a")
    with fake_connect(running(gone)) as connect:
        connect.refuses_to_delete = True
        async with registrar(
            kafka_bootstrap_servers, connect.url, [], signal_topics(config), registrar_name="tandem-a"
        ) as client:
            await eventually(lambda: _list(connect.changes), lambda changes: len(changes) >= 3)
            connect.refuses_to_delete = False
            await eventually(lambda: _list(list(connect.answer)), lambda left: not left)
            assert await checks(client) == {"topics": "ok"}
    notes = await read_records(kafka_bootstrap_servers, config[SIGNALS])
    assert [json.loads(record.value or b"") for record in notes] == [{"captured": ["shop.a"]}]


async def test_added_collection_is_captured_when_its_rows_are_requested(
    kafka_bootstrap_servers: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The topic of the requests may not exist yet."""
    own = Connector("own", with_signals("shop.a", "shop.b"))
    registered = Connector("own", {**own.config, "collection.include.list": "shop.a"})
    put = ConnectClient.put
    requested: list[Any] = []

    async def seen(connect: ConnectClient, name: str, config: Mapping[str, str]) -> None:
        snapshots = SnapshotLog(KafkaClients(kafka_bootstrap_servers), name, config)
        await snapshots.refresh()
        requested.append(list(snapshots.pending.values()))
        await put(connect, name, config)

    async def repairs() -> int:
        return int(app.state.registrar.managed["own"].repairs)

    monkeypatch.setattr(ConnectClient, "put", seen)
    with fake_connect(running(registered)) as connect:
        async with registrar(kafka_bootstrap_servers, connect.url, [own]) as client:
            app: Any = vars(client._transport)["app"]
            await eventually(repairs)
            heartbeats = {own.heartbeat_topic: TopicDeclaration(partitions=1)}
            app.state.registrar.declare([own], {**heartbeats, **signal_topics(own.config)})
            await eventually(lambda: _list(requested))
    assert all(each == [["shop.b"]] for each in requested)


async def test_connector_is_changed_after_its_topics_are_created(
    kafka_bootstrap_servers: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The declarations may change during a poll, when the topics were looked at."""
    before, after = Connector("own", plain_config()), Connector("own", plain_config())
    poll, create, put = Broker.poll, TopicReconciler._create, ConnectClient.put
    steps: list[str] = []
    changes_now = asyncio.Event()

    async def polled(broker: Broker) -> Any:
        found = await poll(broker)
        if changes_now.is_set():
            changes_now.clear()
            app.state.registrar.declare([after], {after.heartbeat_topic: TopicDeclaration(partitions=1)})
        return found

    async def created(topics: TopicReconciler, admin: Any, missing: Any) -> list[str]:
        steps.append("create")
        return await create(topics, admin, missing)

    async def seen(connect: ConnectClient, name: str, config: Mapping[str, str]) -> None:
        steps.append("put")
        await put(connect, name, config)

    with fake_connect(running(before)) as connect:
        async with registrar(
            kafka_bootstrap_servers, connect.url, [before], registrar_heartbeat_limit_seconds=60
        ) as client:
            app: Any = vars(client._transport)["app"]
            await eventually(lambda: checks(client), lambda found: found["own"] == "no heartbeat yet")
            monkeypatch.setattr(Broker, "poll", polled)
            monkeypatch.setattr(TopicReconciler, "_create", created)
            monkeypatch.setattr(ConnectClient, "put", seen)
            changes_now.set()
            await eventually(lambda: _list(steps), lambda found: "put" in found)
    assert steps[:2] == ["create", "put"]


@pytest.mark.parametrize(
    "missing", ["notification.sink.topic.name", "schema.history.internal.kafka.topic", "database.user"]
)
async def test_connector_of_ones_own_may_lack_what_generated_ones_have(
    kafka_bootstrap_servers: str, capsys: pytest.CaptureFixture[str], missing: str
) -> None:
    """It is changed, without a request for the rows of the added table if it can't be asked."""
    prefix = f"test-{secrets.token_hex(4)}"
    config = {
        "connector.class": "io.debezium.connector.mysql.MySqlConnector",
        "topic.prefix": prefix,
        "heartbeat.interval.ms": "2000",
        "database.hostname": "127.0.0.1",
        "database.port": "1",
        "database.user": "debezium",
        "table.include.list": "shop.a,shop.b",
        "schema.history.internal.kafka.topic": f"{prefix}.history",
        "signal.enabled.channels": "kafka",
        "notification.enabled.channels": "sink",
        SIGNALS: f"{prefix}.signals",
        NOTIFICATIONS: f"{prefix}.notifications",
    }
    del config[missing]
    own = Connector("own", config)
    topics = {f"{prefix}.{name}": TopicDeclaration(partitions=1) for name in ("signals", "notifications", "history")}
    with fake_connect(running(replace(own, config={**config, "table.include.list": "shop.a"}))) as connect:
        async with registrar(
            kafka_bootstrap_servers, connect.url, [own], topics, registrar_heartbeat_limit_seconds=60
        ) as client:
            changed = await eventually(lambda: _list(connect.changes), lambda changes: len(changes) >= 2)
            assert changed[-1] == "PUT /connectors/own/config"
            connect.answer = running(own)
            await eventually(lambda: checks(client), lambda found: found["own"] == "no heartbeat yet")
            assert await restarts(client, "connectors") == 0
    assert "KeyError" not in capsys.readouterr().out


@asynccontextmanager
async def registrar(
    servers: str,
    connect_url: str,
    connectors: Sequence[Connector],
    topics: Mapping[str, TopicDeclaration] | None = None,
    **changed: Any,
) -> AsyncIterator[httpx.AsyncClient]:
    settings = Settings(
        kafka_bootstrap_servers=servers,
        connect_url=connect_url,
        registrar_poll_seconds=0.1,
        # Of the same Kafka Connect as the registrar of the stack.
        **{"registrar_name": f"test-{secrets.token_hex(4)}", **changed},
    )
    heartbeats = {connector.heartbeat_topic: TopicDeclaration(partitions=1) for connector in connectors}
    app = create_app(settings, connectors, {**heartbeats, **(topics or {})})
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://registrar") as client,
    ):
        yield client


async def checks(client: httpx.AsyncClient) -> dict[str, str]:
    found: dict[str, str] = (await client.get("/readyz")).json()["checks"]
    return found


async def test_source_with_a_problem_is_soon_checked_again(
    kafka_bootstrap_servers: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong, right = Connector("wrong", plain_config()), Connector("right", plain_config())
    checked: list[str] = []

    async def problem(connector: Connector) -> str | None:
        checked.append(connector.name)
        return "MySQL: gtid_mode is OFF" if checked.count(connector.name) == 1 and connector.name == "wrong" else None

    async def reported(client: httpx.AsyncClient) -> str | None:
        (found,) = (each for each in (await client.get("/v1/connectors")).json() if each["name"] == "wrong")
        return str(found["source_problem"]) if len(checked) > 2 else "not checked again"

    monkeypatch.setattr(reconcile_loop, "source_problem", problem)
    monkeypatch.setattr(reconcile_loop, "PROBLEM_SECONDS", 0.05)
    monkeypatch.setattr(reconcile_loop, "CHECK_SECONDS", 3600.0)
    with fake_connect({**running(wrong), **running(right)}) as connect:
        async with registrar(kafka_bootstrap_servers, connect.url, [wrong, right]) as client:
            await eventually(lambda: reported(client), lambda found: found == "None")
    assert sorted(checked) == ["right", "wrong", "wrong"]


async def test_malformed_answer_of_connect_is_reported_without_its_passwords(
    kafka_bootstrap_servers: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconcile_loop, "POLL_BACKOFF", Backoff(initial=0.1, maximum=0.1))
    config = {**plain_config(), "database.password": PASSWORD}
    status = {"connector": {"state": "RUNNING"}, "tasks": [{"id": 0}]}
    with fake_connect({"mysql": {"info": {"config": config}, "status": status}}) as connect:
        async with registrar(kafka_bootstrap_servers, connect.url, [Connector("mysql", config)]) as client:

            async def problem() -> str:
                return (await checks(client))["mysql"]

            await eventually(problem, lambda current: "KeyError" in current)
            connect.answer = ["mysql"]
            await eventually(problem, lambda current: "AttributeError" in current)
            connect.answer = {"mysql": {"status": {}, "info": {"config": config}}}
            current = await eventually(problem, lambda current: "ValueError" in current)
            assert current == "unknown (ValueError: Connect's answer is not understood; it has info, status)"
            connect.answer = {}
            await eventually(problem, lambda current: current == "not registered")


async def test_refused_connector_is_reported_with_the_reason_and_others_are_still_polled(running_stack: Stack) -> None:
    addresses = running_stack.addresses
    async with httpx.AsyncClient(base_url=addresses["CONNECT_URL"], timeout=20) as connect:
        existing = [
            Connector(name, {key: value for key, value in config.items() if key != "name"})
            for name in ("mongodb-tweets", "mysql-users")
            for config in [(await connect.get(f"/connectors/{name}/config")).json()]
        ]
    refused = Connector("refused", {**existing[1].config, "database.password": PASSWORD})
    async with registrar(
        addresses["KAFKA_BOOTSTRAP_SERVERS"], addresses["CONNECT_URL"], [existing[0], refused]
    ) as client:

        def is_reported(found: dict[str, str]) -> bool:
            return found["mongodb-tweets"] == "ok" and "Access denied" in found["refused"]

        found = await eventually(lambda: checks(client), is_reported)
        assert found["refused"].startswith("Connect refuses it: database.hostname: Unable to connect: Access denied")
        assert PASSWORD not in found["refused"]
        assert f"'{refused.config['database.user']}'" not in found["refused"]
        # The polls between two attempts report it, too.
        ages: set[float] = set()

        async def polls() -> int:
            found = await checks(client)
            # A busy Connect may not answer one of the polls in time.
            if not found["refused"].startswith("unknown ("):
                assert "Access denied" in found["refused"]
                ages.add((await client.get("/v1/connectors")).json()[0]["heartbeat_age_seconds"])
            return len(ages)

        await eventually(polls, lambda count: count > 5)


@pytest.mark.parametrize(
    ("option", "value", "refusal"),
    [
        ("connector.class", "no.such.Class", "connector.class: Kafka Connect has no connector no.such.Class"),
        ("mongodb.connection.string", None, "mongodb.connection.string: Missing connection string"),
        (
            "mongodb.connection.string",
            f"mongo://ada:{PASSWORD}/x@nowhere",
            "mongodb.connection.string: Invalid connection string",
        ),
        ("snapshot.mode", "sometimes", "snapshot.mode: Value must be one of "),
        ("tasks.max", "0", "tasks.max: Invalid value 0"),
    ],
)
async def test_refused_option_is_named_without_its_password(
    running_stack: Stack, option: str, value: str | None, refusal: str
) -> None:
    config = {
        "connector.class": "io.debezium.connector.mongodb.MongoDbConnector",
        "topic.prefix": f"test-{secrets.token_hex(4)}",
        "mongodb.connection.string": f"mongodb://ada:{PASSWORD}@127.0.0.1:1/x?serverSelectionTimeoutMS=100",
        "tasks.max": "1",
        option: value,
    }
    connector = Connector("refused", {name: value for name, value in config.items() if value is not None})
    addresses = running_stack.addresses
    async with registrar(addresses["KAFKA_BOOTSTRAP_SERVERS"], addresses["CONNECT_URL"], [connector]) as client:
        found = await eventually(lambda: checks(client), lambda found: "refuses" in found["refused"])
        assert refusal in found["refused"]
        assert PASSWORD not in found["refused"]
        assert "NullPointerException" not in found["refused"]
        assert len(found["refused"]) < 600


async def test_proxy_of_the_environment_is_not_used_for_connect(
    kafka_bootstrap_servers: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    connector = Connector("mysql", plain_config())
    with fake_connect({}) as connect:
        async with registrar(kafka_bootstrap_servers, connect.url, [connector]) as client:
            await eventually(lambda: checks(client), lambda found: found["mysql"] == "not registered")


async def test_refused_topic_is_reported_once_and_connectors_are_still_polled(
    kafka_bootstrap_servers: str, capsys: pytest.CaptureFixture[str]
) -> None:
    connector, topic = Connector("mysql", plain_config()), f"test-{secrets.token_hex(4)}"
    with fake_connect({}) as connect:
        async with registrar(
            kafka_bootstrap_servers,
            connect.url,
            [connector],
            {topic: TopicDeclaration(partitions=1, config={"no.such": "1"})},
        ) as client:
            found = await eventually(lambda: checks(client), lambda found: found["mysql"] == "not registered")
            assert found["topics"] == (
                f"topic {topic} can't be created: INVALID_CONFIG: Unknown topic config name: no.such"
            )
            metrics = (await client.get("/metrics")).text
            assert f'registrar_topic_healthy{{topic="{topic}"}} 0.0' in metrics
            assert f'registrar_topic_healthy{{topic="{connector.heartbeat_topic}"}} 1.0' in metrics
            # More polls follow, and the problem is logged once.
            connect.answer = running(connector)
            await eventually(lambda: checks(client), lambda found: found["mysql"] == "no heartbeat yet")
    assert capsys.readouterr().out.count("INVALID_CONFIG") == 1


async def test_too_many_replicas_are_reported_with_the_name_of_the_setting(kafka_bootstrap_servers: str) -> None:
    connector = Connector("mysql", plain_config())
    with fake_connect(running(connector)) as connect:
        async with registrar(
            kafka_bootstrap_servers, connect.url, [connector], registrar_replication_factor=3
        ) as client:
            found = await eventually(lambda: checks(client), lambda found: "heartbeats" in found["mysql"])
    reason = (
        f"topic {connector.heartbeat_topic} can't be created: "
        "REGISTRAR_REPLICATION_FACTOR is 3, but the cluster has 1 broker"
    )
    assert found == {"topics": reason, "mysql": f"its heartbeats can't be read: {reason}"}


async def test_topic_deleted_while_the_registrar_runs_is_created_again(
    kafka_bootstrap_servers: str, capsys: pytest.CaptureFixture[str]
) -> None:
    connector, topic = Connector("mysql", plain_config()), f"test-{secrets.token_hex(4)}"
    kafka = KafkaClients(kafka_bootstrap_servers)
    with fake_connect(running(connector)) as connect:
        async with (
            registrar(
                kafka_bootstrap_servers, connect.url, [connector], {topic: TopicDeclaration(partitions=3)}
            ) as client,
            kafka.started(kafka.admin()) as admin,
            kafka.started(kafka.producer()) as producer,
        ):

            async def created(name: str) -> bool:
                return any("topics created" in line and name in line for line in capsys.readouterr().out.splitlines())

            async def send_heartbeat() -> dict[str, str]:
                # The topic may be deleted at the same time; then this heartbeat is lost.
                with contextlib.suppress(KafkaError):
                    await producer.send_and_wait(connector.heartbeat_topic, b"{}")
                return await checks(client)

            async def partitions() -> int:
                described = {each["topic"]: each["partitions"] for each in await admin.describe_topics()}
                return len(described.get(topic, ()))

            await eventually(send_heartbeat, lambda found: found == {"topics": "ok", "mysql": "ok"})
            capsys.readouterr()
            await admin.delete_topics([topic, connector.heartbeat_topic])
            await eventually(lambda: created(topic))
            await eventually(partitions, lambda count: count == 3)
            await eventually(send_heartbeat, lambda found: found == {"topics": "ok", "mysql": "ok"})
    assert connect.changes == []


@pytest.mark.integration
@pytest.mark.long
async def test_outage_of_the_broker_restarts_no_connector() -> None:
    connector, limit = Connector("mysql", plain_config()), 4.0
    with temporary_stack("tandem-test-") as own, fake_connect(running(connector)) as connect:
        await asyncio.to_thread(own.start, "kafka")
        servers = own.addresses["KAFKA_BOOTSTRAP_SERVERS"]
        kafka = KafkaClients(servers)

        async def send_heartbeats() -> None:
            async with kafka.started(kafka.producer(request_timeout_ms=2000)) as producer:
                while True:
                    with contextlib.suppress(KafkaError):
                        await producer.send_and_wait(connector.heartbeat_topic, b"{}")
                    await asyncio.sleep(0.5)

        async with registrar(servers, connect.url, [connector], registrar_heartbeat_limit_seconds=limit) as client:

            async def failed_polls() -> float:
                found = re.search(
                    r"^registrar_failed_looks_total (\S+)", (await client.get("/metrics")).text, re.MULTILINE
                )
                return float(found[1]) if found else 0.0

            await eventually(lambda: checks(client), lambda found: found["topics"] == "ok")
            heartbeats = asyncio.create_task(send_heartbeats())
            await eventually(lambda: checks(client), lambda found: found == {"topics": "ok", "mysql": "ok"})
            own.pause("kafka")
            found = await eventually(lambda: checks(client), lambda found: found["topics"] != "ok")
            assert found["mysql"] == f"its heartbeats can't be read: {found['topics']}"
            # A poll of a broker that is paused takes longer than the limit.
            before = await failed_polls()
            await eventually(failed_polls, lambda count: count >= before + 2)
            own.resume("kafka")
            await eventually(lambda: checks(client), lambda found: found == {"topics": "ok", "mysql": "ok"})
            assert connect.changes == []
            # Missing heartbeats of a connector do restart it.
            heartbeats.cancel()
            await eventually(lambda: _list(connect.changes))
            assert connect.changes[0] == "POST /connectors/mysql/restart?includeTasks=true&onlyFailed=false"


async def _list(items: list[Any]) -> list[Any]:
    return items


async def test_connectors_create_topics_with_the_declared_replicas(running_stack: Stack) -> None:
    async with httpx.AsyncClient(base_url=running_stack.addresses["CONNECT_URL"], timeout=20) as connect:
        for name in ("mongodb-tweets", "mysql-users"):
            config = (await connect.get(f"/connectors/{name}/config")).json()
            assert config["topic.creation.default.replication.factor"] == "1"


@pytest.fixture
async def large_table(mysql_root_url: str) -> AsyncIterator[str]:
    """The schema of a table whose snapshot takes longer than the limit in the test."""
    schema, engine = f"large_{secrets.token_hex(4)}", create_engine(mysql_root_url)
    async with engine.connect() as connection:
        for statement in (
            f"CREATE DATABASE {schema}",
            f"GRANT SELECT ON {schema}.* TO 'debezium'@'%'",
            f"CREATE TABLE {schema}.items (id INT PRIMARY KEY, note VARCHAR(200))",
            "SET SESSION cte_max_recursion_depth = 1000000",
            f"USE {schema}",
        ):
            await connection.execute(text(statement))
        await connection.execute(text(INSERT_ROWS), {"rows": ROWS_OF_THE_LARGE_TABLE})
        await connection.commit()
    yield schema
    async with engine.connect() as connection:
        await connection.execute(text(f"DROP DATABASE {schema}"))
    await engine.dispose()


@pytest.mark.long
async def test_snapshot_that_takes_longer_than_the_limit_of_heartbeats_is_not_restarted(
    running_stack: Stack, large_table: str
) -> None:
    addresses, prefix = running_stack.addresses, f"test-{secrets.token_hex(4)}"
    own = Connector(
        prefix,
        {
            **declared_connectors(running_stack)["mysql-users"].config,
            "topic.prefix": prefix,
            "database.include.list": large_table,
            "table.include.list": f"{large_table}.items",
            "database.server.id": str(6000 + secrets.randbelow(1000)),
            "schema.history.internal.kafka.topic": f"{prefix}.schema-history",
        },
    )
    topic = f"{prefix}.{large_table}.items"
    topics = {
        topic: TopicDeclaration(partitions=1),
        f"{prefix}.schema-history": TopicDeclaration(partitions=1, config={"retention.ms": "-1"}),
    }
    kafka = KafkaClients(addresses["KAFKA_BOOTSTRAP_SERVERS"])

    async def rows() -> int:
        async with kafka.started(kafka.consumer()) as consumer:
            return (await consumer.end_offsets([TopicPartition(topic, 0)]))[TopicPartition(topic, 0)]

    async with registrar(
        addresses["KAFKA_BOOTSTRAP_SERVERS"],
        addresses["CONNECT_URL"],
        [own],
        topics,
        registrar_heartbeat_limit_seconds=HEARTBEAT_LIMIT,
    ) as client:

        async def report() -> dict[str, Any]:
            (found,) = (await client.get("/v1/connectors")).json()
            return dict(found)

        await eventually(rows, lambda count: count > 0)
        began = time.monotonic()
        await eventually(rows, lambda count: count >= ROWS_OF_THE_LARGE_TABLE)
        assert time.monotonic() - began > HEARTBEAT_LIMIT, "the table is too small for this test"
        # It was put, and not restarted.
        assert (await eventually(report, lambda found: found["problem"] is None))["repairs"] == 1
    assert await rows() == ROWS_OF_THE_LARGE_TABLE
    async with httpx.AsyncClient(base_url=addresses["CONNECT_URL"], timeout=20) as connect:
        await connect.delete(f"/connectors/{prefix}")
