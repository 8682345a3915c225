"""The whole system on a Kafka of its operator's, with TLS and SASL: no part of it reaches the broker in another way."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from e2e.copies import copies_of
from e2e.users import registration
from embedded_stack import Stack, temporary_stack
from support.polling import eventually
from support.secured_kafka import PASSWORD, secured_kafka

# sync-service's own tests use each protocol.
pytestmark = [pytest.mark.integration, pytest.mark.long]

# As docs/operations.md has them.
ON_TOPICS = ("Create", "Describe", "DescribeConfigs", "AlterConfigs", "Read", "Write", "Delete")
RIGHTS = (
    ("topic", ("cdc.*", "connect-*", "__debezium-heartbeat.*"), ON_TOPICS),
    ("topic", ("sync.dead-letters",), ON_TOPICS),
    ("group", ("sync-service", "tandem-connect", "cdc.*"), ("Describe", "Read")),
    ("cluster", (), ("Describe",)),
)
# For CONNECT_EXACTLY_ONCE in addition.
TRANSACTION_RIGHTS = (
    "transactional-id",
    ("tandem-connect-*", "connect-cluster-tandem-connect*"),
    ("Describe", "Write"),
)


@pytest.fixture(scope="module", params=["restricted", "scram", "mutual", "exactly-once"])
def secured_stack(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, log_folder: Path
) -> Iterator[Stack]:
    """By user name and password, by a certificate, and by an account that has only the documented rights.

    The latter also with `CONNECT_EXACTLY_ONCE`.
    """
    exactly_once = request.param == "exactly-once"
    folder, logs = tmp_path_factory.mktemp("secured-kafka"), log_folder / f"secured-{request.param}"
    with secured_kafka(folder, logs / "broker") as kafka:
        if request.param == "mutual":
            files = {"SSL_CERT": str(kafka.certificates.cert), "SSL_KEY": str(kafka.certificates.key)}
            settings = kafka.settings("mutual", **files)
        elif request.param == "restricted" or exactly_once:
            for resource, names, operations in (*RIGHTS, *([TRANSACTION_RIGHTS] if exactly_once else [])):
                kafka.grant("bob", resource, names, operations)
            settings = kafka.settings("scram", SASL_USERNAME="bob")
        else:
            settings = kafka.settings("scram")
        with temporary_stack(
            "tandem-secured-", logs=logs / "stack", kafka=settings, exactly_once=exactly_once
        ) as stack:
            stack.start()
            yield stack


async def test_account_and_tweet_arrive_through_a_secured_broker(secured_stack: Stack) -> None:
    addresses = secured_stack.addresses
    assert secured_stack.processes["kafka"].running() is None
    async with httpx.AsyncClient(base_url=addresses["REGISTRAR_URL"]) as registrar:
        connectors = (await registrar.get("/v1/connectors")).json()
    assert {each["state"] for each in connectors} == {"RUNNING"}
    async with registration(addresses["GATEWAY_URL"]) as register, copies_of(secured_stack) as copies:
        user = await register()
        tweet = await user.tweet("through TLS")
        await eventually(lambda: copies.user(user.id))
        await eventually(lambda: copies.tweet(tweet["id"]))


async def test_connectors_go_on_after_a_restart_of_connect(secured_stack: Stack) -> None:
    """The schema history is read again, by the settings that the registrar has added."""
    secured_stack.restart("connect")
    async with httpx.AsyncClient(base_url=secured_stack.addresses["REGISTRAR_URL"]) as registrar:

        async def readiness() -> int:
            return (await registrar.get("/readyz")).status_code

        await eventually(readiness, lambda status: status == 200)


def test_no_log_has_password_or_private_key(secured_stack: Stack) -> None:
    for log in (secured_stack.configuration.state / "log").glob("*.log"):
        written = log.read_text(errors="replace")
        # However it is escaped.
        assert PASSWORD.rpartition("\\")[2] not in written, log.name
        assert "PRIVATE KEY" not in written, log.name
