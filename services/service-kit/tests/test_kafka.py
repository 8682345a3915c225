"""Settings of Kafka, the factory of its clients, and the diagnosis of errors."""

import ast
import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    KafkaConnectionError,
    KafkaError,
    RequestTimedOutError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
)
from pydantic import ValidationError

from service_kit.kafka import KafkaClients, stop
from service_kit.kafka_diagnosis import KafkaUnavailable
from service_kit.kafka_settings import KafkaSettings
from service_kit.settings import format_settings_error

REPOSITORY = Path(__file__).parents[3]
SASL = {
    "KAFKA_SASL_MECHANISM": "SCRAM-SHA-512",
    "KAFKA_SASL_USERNAME": "ada",
    "KAFKA_SASL_PASSWORD": "correct horse battery staple",
}
NOWHERE = "127.0.0.1:1"


def settings(monkeypatch: pytest.MonkeyPatch, **variables: str) -> KafkaSettings:
    for name in KafkaSettings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    for name, value in {"KAFKA_BOOTSTRAP_SERVERS": NOWHERE, **variables}.items():
        monkeypatch.setenv(name, value)
    return KafkaSettings()


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        (
            {"KAFKA_SECURITY_PROTOCOL": "SASL_SSL"},
            f"{', '.join(SASL)} are needed: KAFKA_SECURITY_PROTOCOL is SASL_SSL",
        ),
        (
            {**SASL, "KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT", "KAFKA_SASL_PASSWORD": ""},
            "KAFKA_SASL_PASSWORD is needed: KAFKA_SECURITY_PROTOCOL is SASL_PLAINTEXT",
        ),
        (
            {"KAFKA_SASL_USERNAME": "ada"},
            "KAFKA_SASL_USERNAME is set, but KAFKA_SECURITY_PROTOCOL is not SASL_SSL or SASL_PLAINTEXT",
        ),
        (
            {"KAFKA_SSL_CA": "ca.pem"},
            "KAFKA_SSL_CA is set, but KAFKA_SECURITY_PROTOCOL is not SSL or SASL_SSL",
        ),
        (
            {"KAFKA_SECURITY_PROTOCOL": "SSL", "KAFKA_SSL_CA": "/no/such/ca.pem"},
            "KAFKA_SSL_CA: /no/such/ca.pem: No such file or directory",
        ),
        (
            {"KAFKA_SECURITY_PROTOCOL": "SSL", "KAFKA_SSL_CA": __file__},
            f"KAFKA_SSL_CA: {__file__} has no certificate in PEM format",
        ),
        (
            {"KAFKA_SECURITY_PROTOCOL": "SSL", "KAFKA_SSL_CERT": __file__},
            "KAFKA_SSL_CERT and KAFKA_SSL_KEY are needed together",
        ),
        (
            {"KAFKA_SECURITY_PROTOCOL": "SSL", "KAFKA_SSL_CERT": __file__, "KAFKA_SSL_KEY": __file__},
            f"KAFKA_SSL_CERT, KAFKA_SSL_KEY: {__file__} and {__file__} are not a certificate and its key in PEM format",
        ),
        (
            {**SASL, "KAFKA_SECURITY_PROTOCOL": "SASL_SSL", "KAFKA_SASL_MECHANISM": "GSSAPI"},
            "KAFKA_SASL_MECHANISM: Input should be 'PLAIN', 'SCRAM-SHA-256' or 'SCRAM-SHA-512'",
        ),
        (
            {"KAFKA_SECURITY_PROTOCOL": "TLS"},
            "KAFKA_SECURITY_PROTOCOL: Input should be 'PLAINTEXT', 'SSL', 'SASL_PLAINTEXT' or 'SASL_SSL'",
        ),
    ],
)
def test_contradicting_settings_are_refused_by_name(
    variables: dict[str, str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValidationError) as refused:
        settings(monkeypatch, **variables)
    sentence = format_settings_error(refused.value)
    assert sentence == f"error: the configuration is not valid: {said}"
    assert SASL["KAFKA_SASL_PASSWORD"] not in sentence + str(refused.value)


def test_empty_variables_count_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    names = set(KafkaSettings.model_fields) - {"kafka_bootstrap_servers"}
    found = settings(monkeypatch, **dict.fromkeys(map(str.upper, names), ""))
    assert found == settings(monkeypatch)
    assert KafkaClients.of(found) == KafkaClients(NOWHERE)


def test_settings_survive_the_environment_of_another_process(monkeypatch: pytest.MonkeyPatch) -> None:
    found = settings(monkeypatch, **SASL, KAFKA_SECURITY_PROTOCOL="SASL_PLAINTEXT")
    assert settings(monkeypatch, **found.kafka_variables()) == found


def test_password_is_not_shown_with_the_clients(monkeypatch: pytest.MonkeyPatch) -> None:
    found = settings(monkeypatch, **SASL, KAFKA_SECURITY_PROTOCOL="SASL_PLAINTEXT")
    assert SASL["KAFKA_SASL_PASSWORD"] not in repr(KafkaClients.of(found)) + repr(found)


async def test_unreachable_broker_is_named() -> None:
    kafka = KafkaClients(NOWHERE)
    with pytest.raises(KafkaUnavailable) as raised:
        async with kafka.started(kafka.client()):
            pass
    assert str(raised.value) == f"the broker at {NOWHERE} does not answer: Connection refused"


async def test_program_that_is_no_broker_is_named_so() -> None:
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """As MySQL does: it speaks first, and ends the connection after a request that it does not understand."""
        writer.write(b"K" + bytes(3) + b"\n9.7.0" + bytes(60))
        await reader.read(65536)
        writer.close()

    async with await asyncio.start_server(greet, "127.0.0.1") as server:
        host, port = server.sockets[0].getsockname()
        kafka = KafkaClients(f"{host}:{port}")
        with pytest.raises(KafkaUnavailable) as raised:
            await kafka.start(kafka.client())
    assert str(raised.value) == f"the program at {host}:{port} is no Kafka broker: it answers in another protocol"


def kafka_clients_made_in(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Call):
            made = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if made.startswith("AIOKafka") or made == "create_conn":
                yield f"{file.relative_to(REPOSITORY)}:{node.lineno} {made}"


def test_one_module_creates_all_kafka_clients() -> None:
    sources = [*REPOSITORY.glob("services/*/src/**/*.py"), *REPOSITORY.glob("infra/*/src/**/*.py")]
    the_one = REPOSITORY / "services/service-kit/src/service_kit/kafka.py"
    assert [*kafka_clients_made_in(the_one)]
    assert [each for file in sources if file != the_one for each in kafka_clients_made_in(file)] == []


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            GroupAuthorizationFailedError("sync"),
            "Kafka denies this user access to the group sync: rights (ACLs) are missing",
        ),
        (
            TopicAuthorizationFailedError({"b", "a"}),
            "Kafka denies this user access to the topics a, b: rights (ACLs) are missing",
        ),
        (ClusterAuthorizationFailedError(), "Kafka denies this user access to the cluster: rights (ACLs) are missing"),
        (UnknownTopicOrPartitionError("topic a does not exist"), "topic a does not exist"),
    ],
)
async def test_reason_of_the_broker_is_used(error: KafkaError, said: str) -> None:
    assert await KafkaClients(NOWHERE).explain(error) == said


async def test_timeout_is_not_a_response_of_the_broker(kafka_bootstrap_servers: str) -> None:
    kafka = KafkaClients(kafka_bootstrap_servers)
    said = f"the broker at {kafka_bootstrap_servers} does not answer: a request timed out"
    assert await kafka.explain(RequestTimedOutError()) == said
    assert await KafkaClients(NOWHERE).explain(RequestTimedOutError()) == (
        f"the broker at {NOWHERE} does not answer: Connection refused"
    )


@pytest.mark.parametrize("name", ["CA", "CERT", "KEY"])
async def test_certificate_that_is_deleted_at_run_time_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("client.example")
    pems = {"CA": authority.cert_pem, "CERT": issued.cert_chain_pems[0], "KEY": issued.private_key_pem}
    files = {each: tmp_path / f"{each}.pem" for each in pems}
    for each, pem in pems.items():
        pem.write_to_path(str(files[each]))
    variables = {f"KAFKA_SSL_{each}": str(file) for each, file in files.items()}
    kafka = KafkaClients.of(settings(monkeypatch, KAFKA_SECURITY_PROTOCOL="SSL", **variables))
    await stop(kafka.client())
    files[name].unlink()
    said = f"KAFKA_SSL_{name}: {files[name]}: No such file or directory"
    for make in (kafka.client, kafka.consumer, kafka.producer, kafka.admin):
        with pytest.raises(KafkaUnavailable) as raised:
            make()
        assert str(raised.value) == said
    assert await kafka.explain(KafkaConnectionError("Unable to bootstrap")) == said
    pems[name].write_to_path(str(files[name]))
    await stop(kafka.client())


async def test_cancelled_task_of_aiokafka_is_a_failed_start(monkeypatch: pytest.MonkeyPatch) -> None:
    async def cancelled(_client: AIOKafkaClient) -> None:
        raise asyncio.CancelledError

    monkeypatch.setattr(AIOKafkaClient, "bootstrap", cancelled)
    kafka = KafkaClients(NOWHERE)
    for client in (kafka.client(), kafka.consumer(), kafka.producer(), kafka.admin()):
        with pytest.raises(KafkaUnavailable):
            await kafka.start(client)


async def test_reason_of_one_broker_goes_before_another_that_is_down(
    kafka_bootstrap_servers: str,
) -> None:
    kafka = KafkaClients(f"{NOWHERE},{kafka_bootstrap_servers}", security_protocol="SSL")
    said = await kafka.explain(KafkaConnectionError("Unable to bootstrap"))
    assert said == f"the broker at {kafka_bootstrap_servers} does not speak TLS, but KAFKA_SECURITY_PROTOCOL is SSL"
