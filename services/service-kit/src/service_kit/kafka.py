"""The factory of Kafka clients. Needs the `kafka` extra.

All clients have the same address, TLS and SASL settings. If one can't connect, `service_kit.kafka_diagnosis` finds the
reason.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self, TypeVar

import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.client import AIOKafkaClient
from aiokafka.conn import AIOKafkaConnection, create_conn
from aiokafka.errors import KafkaError

from service_kit.background import TaskEnded, stray_cancellations
from service_kit.kafka_diagnosis import KafkaUnavailable, explain
from service_kit.kafka_settings import (
    HEADERS_BYTES,
    MAX_RECORD_BYTES,
    KafkaSecurity,
    KafkaSettings,
    SaslMechanism,
    SecurityProtocol,
    tls_context,
)

# A broker that answers does so within milliseconds.
START_GRACE_SECONDS = 1.0

log = structlog.get_logger(__name__)

ClientT = TypeVar("ClientT", bound=AIOKafkaConsumer | AIOKafkaProducer | AIOKafkaAdminClient | AIOKafkaClient)


@dataclass(frozen=True, slots=True)
class KafkaClients:
    """Creates clients of one Kafka cluster. They connect when they are started.

    Certificates are read when a client is created, because they may be renewed at run time. Creating a client raises
    `KafkaUnavailable` if a certificate or key can't be read.
    """

    bootstrap_servers: str
    security_protocol: SecurityProtocol = "PLAINTEXT"
    sasl_mechanism: SaslMechanism | None = None
    sasl_username: str | None = None
    sasl_password: str | None = field(default=None, repr=False)
    ssl_ca: Path | None = None
    ssl_cert: Path | None = None
    ssl_key: Path | None = None
    # A producer refuses larger records. Consumers need no such setting: a broker returns the first record of a fetch
    # whatever its size (KIP-74).
    max_message_bytes: int = MAX_RECORD_BYTES + HEADERS_BYTES

    @classmethod
    def of(cls, settings: KafkaSettings) -> Self:
        clients = cls.at(settings.kafka_bootstrap_servers, settings)
        return replace(clients, max_message_bytes=settings.kafka_max_message_bytes)

    @classmethod
    def at(cls, bootstrap_servers: str, settings: KafkaSecurity) -> Self:
        """As `of`, for an address that is not in the settings."""
        password = settings.kafka_sasl_password
        return cls(
            bootstrap_servers,
            security_protocol=settings.kafka_security_protocol,
            sasl_mechanism=settings.kafka_sasl_mechanism,
            sasl_username=settings.kafka_sasl_username,
            sasl_password=None if password is None else password.get_secret_value(),
            ssl_ca=settings.kafka_ssl_ca,
            ssl_cert=settings.kafka_ssl_cert,
            ssl_key=settings.kafka_ssl_key,
        )

    def consumer(self, *topics: str, **options: Any) -> AIOKafkaConsumer:
        return AIOKafkaConsumer(*topics, bootstrap_servers=self.bootstrap_servers, **self._security(), **options)

    def producer(self, **options: Any) -> AIOKafkaProducer:
        sized = {"max_request_size": self.max_message_bytes, **options}
        return AIOKafkaProducer(bootstrap_servers=self.bootstrap_servers, **self._security(), **sized)

    def admin(self, **options: Any) -> AIOKafkaAdminClient:
        return AIOKafkaAdminClient(bootstrap_servers=self.bootstrap_servers, **self._security(), **options)

    def client(self, **options: Any) -> AIOKafkaClient:
        return AIOKafkaClient(bootstrap_servers=self.bootstrap_servers, **self._security(), **options)

    async def connect(self, host: str, port: int, **options: Any) -> AIOKafkaConnection:
        """One connection; `options` override the security settings. Raises `KafkaError`, `OSError`."""
        return await create_conn(host, port, **{**self._security(), **options})

    async def start(self, client: AIOKafkaConsumer | AIOKafkaProducer | AIOKafkaAdminClient | AIOKafkaClient) -> None:
        """Connect, and close the client if that fails. Raises `KafkaUnavailable` with the reason.

        A `CancelledError` of one of aiokafka's own tasks is a failure, too.
        """
        try:
            with stray_cancellations(KafkaError):
                await _finished(client.bootstrap() if isinstance(client, AIOKafkaClient) else client.start())
        except (KafkaError, OSError, TimeoutError) as error:
            await stop(client)
            raise KafkaUnavailable(await self.explain(error)) from error
        except BaseException:
            await stop(client)
            raise

    @asynccontextmanager
    async def started(self, client: ClientT) -> AsyncIterator[ClientT]:
        """A connected client, during the context. Raises `KafkaUnavailable` with the reason.

        A `CancelledError` of one of aiokafka's own tasks becomes a `KafkaError`.
        """
        await self.start(client)
        try:
            with stray_cancellations(KafkaError):
                yield client
        finally:
            await stop(client)

    async def explain(self, error: BaseException) -> str:
        """The reason of a client's error, in one sentence without user names and passwords.

        It may connect to the brokers to find the reason, for a few seconds at most.
        """
        return await explain(self, error)

    @property
    def uses_tls(self) -> bool:
        return self.security_protocol.endswith("SSL")

    @property
    def uses_sasl(self) -> bool:
        return self.security_protocol.startswith("SASL_")

    def _security(self) -> dict[str, Any]:
        try:
            context = tls_context(self.ssl_ca, self.ssl_cert, self.ssl_key) if self.uses_tls else None
        except ValueError as error:
            raise KafkaUnavailable(str(error)) from error
        return {
            "security_protocol": self.security_protocol,
            "ssl_context": context,
            "sasl_mechanism": self.sasl_mechanism or "PLAIN",
            "sasl_plain_username": self.sasl_username,
            "sasl_plain_password": self.sasl_password,
        }


async def _finished(start: Coroutine[Any, Any, None]) -> None:
    """Await the start of a client. If the caller is cancelled, the start may still finish, for `START_GRACE_SECONDS`.

    aiokafka does not close a connection whose first metadata it awaits when it is cancelled.
    """
    starting = asyncio.ensure_future(start)
    try:
        await asyncio.shield(starting)
    except asyncio.CancelledError:
        await asyncio.wait([starting], timeout=START_GRACE_SECONDS)
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        raise


async def stop(client: AIOKafkaConsumer | AIOKafkaProducer | AIOKafkaAdminClient | AIOKafkaClient) -> None:
    """Stop the client, and close its connections even if that fails.

    `stop()` of aiokafka 0.14 ends halfway if one of the client's own tasks fails or is cancelled: `Fetcher.close()`
    awaits the fetches that it cancels, and a fetch that waits for a lost broker leaks the `CancelledError`. Fetches,
    connections and the task that refreshes metadata would remain. That `CancelledError` is not raised here.
    """
    async with AsyncExitStack() as parts:
        # These callbacks run in reverse order.
        parts.push_async_callback(_close, connections_of(client).close)
        if isinstance(client, AIOKafkaConsumer) and client._fetcher is not None:  # noqa: SLF001 - no public name
            parts.push_async_callback(_close, client._fetcher.close)  # noqa: SLF001 - no public name
        await _close(client.stop if isinstance(client, AIOKafkaConsumer | AIOKafkaProducer) else client.close)


async def _close(close: Callable[[], Awaitable[None]]) -> None:
    try:
        with stray_cancellations():
            await close()
    except TaskEnded:
        log.debug("aiokafka leaked a CancelledError", method=close.__qualname__)


def connections_of(
    client: AIOKafkaConsumer | AIOKafkaProducer | AIOKafkaAdminClient | AIOKafkaClient,
) -> AIOKafkaClient:
    """The low-level client, for requests that the client has no method for."""
    if isinstance(client, AIOKafkaClient):
        return client
    return client.client if isinstance(client, AIOKafkaProducer) else client._client  # noqa: SLF001 - no public name


async def fetch_metadata(consumer: AIOKafkaConsumer, topics: Collection[str]) -> None:
    """Get the metadata of these topics in one request, for a consumer whose partitions are not assigned yet.

    Otherwise aiokafka asks for one topic at a time, with a pause after each. An assignment replaces these topics.
    """
    if topics:
        await connections_of(consumer).set_topics(topics)
