"""The sync on a Kafka with TLS and SASL, and what it says of one that it can't use."""

import json
import re
import secrets
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from aiokafka import AIOKafkaProducer

from registrar.topics import TopicDeclaration, ensure_topics
from service_kit.kafka import KafkaClients
from support.change_events import mysql_event, user_event
from support.commands import run_command
from support.polling import eventually
from support.replicas import Replica
from support.secured_kafka import PASSWORD, SecuredKafka, secured_kafka
from support.sync_process import SyncProcess
from support.topics import create_topics
from sync_service.dead_letters.service import READ_SECONDS

pytestmark = pytest.mark.integration

if TYPE_CHECKING:
    from motor.motor_asyncio import AsyncIOMotorDatabase

    Database = AsyncIOMotorDatabase[dict[str, Any]]


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory, log_folder: Path) -> Iterator[SecuredKafka]:
    folder = tmp_path_factory.mktemp("secured-kafka")
    with secured_kafka(folder, log_folder / "secured-kafka") as kafka:
        yield kafka


@pytest.fixture(scope="module")
async def topics(kafka: SecuredKafka) -> str:
    """What the registrar says when it has made them, through TLS and SASL."""
    code, output, errors = await registrar_topics(**kafka.variables())
    assert (code, errors) == (0, "")
    return output


@pytest.fixture
def copies_urls(
    kafka: SecuredKafka, topics: str, schema_url: str, database_url: str, database: "Database"
) -> dict[str, str]:
    return {"MYSQL_URL": schema_url, "MONGODB_URL": database_url, "KAFKA_BOOTSTRAP_SERVERS": kafka.plain}


async def registrar_topics(**variables: str) -> tuple[int, str, str]:
    code, output, errors = await run_command("registrar", "topics", CONNECT_URL="http://127.0.0.1:1", **variables)
    # Beside what is logged.
    return code, output.splitlines()[-1] if output else "", errors


@asynccontextmanager
async def unready(sync: SyncProcess, service: str = "sync-service", **variables: str) -> AsyncIterator[Replica]:
    """A service that begins, and need not become ready."""
    logs = sync.stack.configuration.state / "log"
    replica = Replica(service, {**sync.variables, **variables}, logs)
    await replica.begin()
    try:
        yield replica
    finally:
        await replica.end(signal.SIGTERM)
        await replica.client.aclose()


def test_registrar_creates_the_topics_through_tls_and_sasl(topics: str) -> None:
    made = re.fullmatch("([0-9]+) topics, ([0-9]+) of them created", topics)
    assert made is not None
    assert int(made[1]) == int(made[2]) > 0


async def test_registrar_reports_the_error_at_its_deadline(kafka: SecuredKafka) -> None:
    wrong = KafkaClients.of(kafka.settings(SASL_PASSWORD="wrong"))
    with pytest.raises(TimeoutError, match="refuses KAFKA_SASL_USERNAME or KAFKA_SASL_PASSWORD"):
        await ensure_topics(wrong, {"x": TopicDeclaration(partitions=1)}, deadline_seconds=3)


@pytest.mark.parametrize(
    ("listener", "changed"),
    [
        ("sasl", {"SASL_MECHANISM": "SCRAM-SHA-512"}),
        ("sasl", {"SASL_MECHANISM": "PLAIN"}),
        ("unencrypted", {}),
        ("mutual", {}),
    ],
)
async def test_row_is_written_through_each_protocol(
    sync: SyncProcess, kafka: SecuredKafka, database: "Database", listener: str, changed: dict[str, str]
) -> None:
    if listener == "mutual":
        changed = {"SSL_CERT": str(kafka.certificates.cert), "SSL_KEY": str(kafka.certificates.key)}
    await sync.send(sync.users, user_event({"id": "u1", "username": "ada", "name": "Ada"}))
    await sync.send(sync.users, (b"k", b"broken"), partition=1)
    variables = kafka.variables(listener, **changed)
    async with sync.running(**variables) as replica:

        async def name() -> str | None:
            found = await database.users.find_one({"_id": "u1"})
            return None if found is None else str(found["name"])

        await eventually(name, lambda seen: seen == "Ada")

        # The dead letter was written by the producer, and is read by a consumer of its own.
        async def letters() -> list[str]:
            # The service may take until its deadline: a new broker can leave a client's first request unanswered.
            answer = await replica.client.get(
                "/v1/dead-letters", params={"route": sync.users}, timeout=READ_SECONDS + 10
            )
            return [each["topic"] for each in answer.json().get("items", [])]

        await eventually(letters, lambda seen: seen == [sync.topic(sync.users)], within=2 * READ_SECONDS)
        pipeline = (await replica.client.get("/v1/pipeline")).json()
        assert pipeline["broker"] is not None
    assert PASSWORD not in replica.log.read_text()
    code, output, _ = await sync.command("inspect", "--route", sync.users, "--from-beginning", "--limit=2", **variables)
    assert (code, "Ada" in output) == (0, True)


_CERTIFICATE = "the certificate of the broker at"
# In the words of OpenSSL.
_UNKNOWN = "unable to get local issuer certificate"
_OTHER_HOST = "Hostname mismatch, certificate is not valid for 'localhost'."
_NOWHERE = "the broker at localhost:1 does not answer: Connection refused"
WRONG = {
    "nothing listens": (
        "sasl",
        {"BOOTSTRAP_SERVERS": "127.0.0.1:1"},
        "the broker at 127.0.0.1:1 does not answer: Connection refused",
    ),
    "wrong password": (
        "sasl",
        {"SASL_PASSWORD": "wrong"},
        "the broker at {sasl} refuses KAFKA_SASL_USERNAME or KAFKA_SASL_PASSWORD",
    ),
    "wrong password, PLAIN": (
        "sasl",
        {"SASL_PASSWORD": "wrong", "SASL_MECHANISM": "PLAIN"},
        "the broker at {sasl} refuses KAFKA_SASL_USERNAME or KAFKA_SASL_PASSWORD",
    ),
    "mechanism that is not offered": (
        "scram",
        {"SASL_MECHANISM": "PLAIN"},
        "the broker at {scram} does not offer KAFKA_SASL_MECHANISM=PLAIN, but SCRAM-SHA-512",
    ),
    "wrong CA": (
        "sasl",
        {"SSL_CA": "{stranger}"},
        f"{_CERTIFICATE} {{sasl}} is not signed by the CA in KAFKA_SSL_CA: {_UNKNOWN}",
    ),
    "no CA": (
        "sasl",
        {"SSL_CA": ""},
        f"{_CERTIFICATE} {{sasl}} is not signed by a CA that this system knows; set KAFKA_SSL_CA: {_UNKNOWN}",
    ),
    "expired certificate": (
        "expired",
        {},
        f"{_CERTIFICATE} {{expired}} (or that of its CA) has expired",
    ),
    "certificate of another host": (
        "misnamed",
        {},
        f"{_CERTIFICATE} {{misnamed}} is for another host: {_OTHER_HOST}",
    ),
    "TLS to a plain port": (
        "sasl",
        {"BOOTSTRAP_SERVERS": "{plain}"},
        "the broker at {plain} does not speak TLS, but KAFKA_SECURITY_PROTOCOL is SASL_SSL",
    ),
    "plain to a TLS port": (
        "unencrypted",
        {"BOOTSTRAP_SERVERS": "{sasl}"},
        "the broker at {sasl} speaks TLS, but KAFKA_SECURITY_PROTOCOL is SASL_PLAINTEXT",
    ),
    "no user name": (
        "expired",
        {"BOOTSTRAP_SERVERS": "{sasl}"},
        "the broker at {sasl} asks for a user name, but KAFKA_SECURITY_PROTOCOL is SSL",
    ),
    "user name for a broker that knows none": (
        "unencrypted",
        {"BOOTSTRAP_SERVERS": "{plain}"},
        "the broker at {plain} takes no user names, but KAFKA_SECURITY_PROTOCOL is SASL_PLAINTEXT",
    ),
    "advertised address that leads nowhere": (
        "astray",
        {},
        f"the broker at {{astray}} answers and names localhost:1 (advertised.listeners), but {_NOWHERE}",
    ),
    "no client certificate": (
        "mutual",
        {},
        "the broker at {mutual} asks for a certificate: set KAFKA_SSL_CERT and KAFKA_SSL_KEY",
    ),
}


@pytest.mark.parametrize("kind", WRONG)
async def test_unusable_broker_is_reported_in_one_sentence(sync: SyncProcess, kafka: SecuredKafka, kind: str) -> None:
    listener, changed, sentence = WRONG[kind]
    values = {name: kafka.address(name) for name in kafka.ports}
    values |= {"plain": kafka.plain, "stranger": str(kafka.certificates.stranger)}
    variables = kafka.variables(listener, **{name: value.format(**values) for name, value in changed.items()})
    expected = f"Kafka: {sentence.format(**values)}"
    async with unready(sync, **variables) as replica:

        async def problem() -> str:
            return await replica.problem("consumer")

        said = await eventually(problem, lambda said: said.startswith("Kafka:"))
        assert said == expected
        # Said in the log once, however often it has been tried again.
        await eventually(problem, lambda said: "Kafka" in said)
    assert replica.log.read_text().count("nothing is consumed") == 1
    assert PASSWORD not in replica.log.read_text()
    code, _, errors = await sync.command("inspect", "--route", sync.users, "--limit=1", **variables)
    assert (code, errors.strip()) == (1, f"error: {said.removeprefix('Kafka: ')}")


async def test_certificate_that_vanishes_at_run_time_is_named_and_its_return_noticed(
    sync: SyncProcess, kafka: SecuredKafka, tmp_path: Path
) -> None:
    ca = tmp_path / "ca.pem"
    kept = kafka.certificates.ca.read_bytes()
    ca.write_bytes(kept)
    async with sync.running(**kafka.variables(SSL_CA=str(ca))) as replica:

        async def problem() -> str:
            return await replica.problem("consumer")

        # The connections that are open stay; a topic is looked up by a new one.
        ca.unlink()
        await eventually(problem, lambda said: f"KAFKA_SSL_CA: {ca}: No such file or directory" in said)
        ca.write_bytes(kept)
        # Asks the same process.
        await eventually(problem, lambda said: said == "ok")


async def test_missing_rights_are_reported(sync: SyncProcess, kafka: SecuredKafka) -> None:
    variables = kafka.variables(SASL_USERNAME="bob")
    denied = "Kafka denies this user access to the topic"
    async with unready(sync, **variables) as replica:

        async def problem() -> str:
            return await replica.problem("consumer")

        said = await eventually(problem, lambda said: denied in said)
        for route in (sync.users, sync.tweets):
            assert f"{route}: Kafka: {denied} {sync.topic(route)}: rights (ACLs) are missing" in said
    code, _, errors = await sync.command("inspect", "--route", sync.users, "--limit=1", **variables)
    assert (code, errors.strip()) == (1, f"error: {denied} {sync.topic(sync.users)}: rights (ACLs) are missing")


async def test_check_reports_topics_without_rights_and_checks_the_others(kafka: SecuredKafka, tmp_path: Path) -> None:
    names = ("hidden", "unreadable", "right", "nokeys")
    topics = {name: f"test.{secrets.token_hex(4)}.{name}" for name in names}
    await create_topics(kafka.plain, *topics.values())
    key, value = mysql_event({"id": "u1", "v": "x"})
    async with AIOKafkaProducer(bootstrap_servers=kafka.plain) as producer:
        for name, topic in topics.items():
            await producer.send_and_wait(topic, key=None if name == "nokeys" else key, value=value)
    kafka.grant("bob", "topic", [topics["unreadable"]], ["Describe"])
    kafka.grant("bob", "topic", [topics["right"], topics["nokeys"]], ["Describe", "Read"])
    file = tmp_path / "routes.yaml"
    declared = {
        name: {
            "topic": topic,
            "target": {"store": "mongodb", "collection": name},
            "key": {"_id": {"from": "id", "type": "string"}},
            "fields": {"v": "string"},
        }
        for name, topic in topics.items()
    }
    file.write_text(json.dumps(declared))
    variables = {**kafka.variables(SASL_USERNAME="bob"), "SYNC_ROUTES_FILE": str(file)}
    code, _, errors = await run_command("sync-service", "routes", "check", **variables)
    denied = "Kafka denies this user access to the topic"
    assert code == 1
    assert sorted(line.partition("route ")[2].partition(";")[0] for line in errors.splitlines()) == [
        f"hidden: topic: {denied} {topics['hidden']}: rights (ACLs) are missing",
        f"nokeys: topic: {topics['nokeys']}-0@0: the record has no key: its table has no primary key",
        f"unreadable: topic: {denied} {topics['unreadable']}: rights (ACLs) are missing",
    ]


async def test_registrar_reports_the_same_error(sync: SyncProcess, kafka: SecuredKafka) -> None:
    sentence = f"the broker at {kafka.address('sasl')} refuses KAFKA_SASL_USERNAME or KAFKA_SASL_PASSWORD"
    of_connectors = dict.fromkeys(("CDC_MYSQL_HOST", "CDC_MYSQL_PORT", "CDC_MYSQL_USER", "CDC_MYSQL_PASSWORD"), "1")
    variables = {
        **kafka.variables(SASL_PASSWORD="wrong"),
        **of_connectors,
        "CDC_MONGODB_URL": "mongodb://127.0.0.1:1/tweets",
        "CONNECT_URL": "http://127.0.0.1:1",
    }
    async with unready(sync, "registrar", **variables) as replica:

        async def problem() -> str:
            return await replica.problem("topics")

        await eventually(problem, lambda said: sentence in said)
    assert PASSWORD not in replica.log.read_text()


async def test_refused_session_timeout_is_reported_with_its_limits(sync: SyncProcess, kafka: SecuredKafka) -> None:
    async with unready(sync, **kafka.variables(), SYNC_SESSION_TIMEOUT_MS="3000") as replica:

        async def problem() -> str:
            return await replica.problem("consumer")

        said = await eventually(problem, lambda said: "SYNC_SESSION_TIMEOUT_MS" in said)
    assert said == (
        "Kafka: the broker refuses SYNC_SESSION_TIMEOUT_MS=3000; it must be from 6000 (group.min.session.timeout.ms) "
        "to 1800000 (group.max.session.timeout.ms)"
    )
