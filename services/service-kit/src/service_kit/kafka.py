"""Kafka for the services that use it: the settings, and the one place that makes clients. Needs the `kafka` extra.

Every client has the same address, TLS and SASL settings. What keeps one from connecting is told in one sentence, which
`service_kit.kafka_failures` finds out.
"""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.client import AIOKafkaClient
from aiokafka.conn import AIOKafkaConnection, create_conn
from aiokafka.errors import KafkaError
from pydantic import Field, SecretStr, field_validator, model_validator

from service_kit.kafka_failures import KafkaUnavailable, explain
from service_kit.settings import EnvironmentSettings

SecurityProtocol = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
SaslMechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]

ClientT = TypeVar("ClientT", bound=AIOKafkaConsumer | AIOKafkaProducer | AIOKafkaAdminClient | AIOKafkaClient)


class KafkaSecurity(EnvironmentSettings):
    """TLS and SASL. A variable that is empty counts as not set, so that Compose can pass all of them on."""

    kafka_security_protocol: SecurityProtocol = Field(
        default="PLAINTEXT", description="With `SSL` in it, the broker's certificate and its host name are checked."
    )
    kafka_sasl_mechanism: SaslMechanism | None = Field(
        default=None, description="`PLAIN`, `SCRAM-SHA-256` or `SCRAM-SHA-512`; needed for `SASL_…`."
    )
    kafka_sasl_username: str | None = Field(default=None, description="Needed for `SASL_…`.")
    kafka_sasl_password: SecretStr | None = Field(default=None, description="Needed for `SASL_…`.")
    kafka_ssl_ca: Path | None = Field(
        default=None,
        description="PEM file of the CA that signed the brokers' certificates; the system's CAs if not given.",
    )
    kafka_ssl_cert: Path | None = Field(
        default=None, description="PEM file of the client's certificate and its chain, if the brokers ask for one."
    )
    kafka_ssl_key: Path | None = Field(
        default=None, description="PEM file of the client certificate's private key, without a passphrase."
    )

    @field_validator("kafka_security_protocol", mode="before")
    @classmethod
    def _take_empty_protocol_for_default(cls, value: Any) -> Any:
        return value or "PLAINTEXT"

    @field_validator(
        "kafka_sasl_mechanism",
        "kafka_sasl_username",
        "kafka_sasl_password",
        "kafka_ssl_ca",
        "kafka_ssl_cert",
        "kafka_ssl_key",
        mode="before",
    )
    @classmethod
    def _take_empty_for_not_set(cls, value: Any) -> Any:
        return None if value == "" else value

    @model_validator(mode="after")
    def _check_kafka_security(self) -> Self:
        protocol = self.kafka_security_protocol
        sasl = ("kafka_sasl_mechanism", "kafka_sasl_username", "kafka_sasl_password")
        tls = ("kafka_ssl_ca", "kafka_ssl_cert", "kafka_ssl_key")
        is_set = {name for name in (*sasl, *tls) if getattr(self, name)}
        if protocol.startswith("SASL_"):
            _refuse([name for name in sasl if name not in is_set], f"needed: KAFKA_SECURITY_PROTOCOL is {protocol}")
        else:
            needs = "SASL_SSL or SASL_PLAINTEXT"
            _refuse([name for name in sasl if name in is_set], f"set, but KAFKA_SECURITY_PROTOCOL is not {needs}")
        if not protocol.endswith("SSL"):
            _refuse([name for name in tls if name in is_set], "set, but KAFKA_SECURITY_PROTOCOL is not SSL or SASL_SSL")
            return self
        if len({"kafka_ssl_cert", "kafka_ssl_key"} & is_set) == 1:
            raise ValueError("KAFKA_SSL_CERT and KAFKA_SSL_KEY are needed together")
        _tls(self.kafka_ssl_ca, self.kafka_ssl_cert, self.kafka_ssl_key)
        return self

    def kafka_variables(self) -> dict[str, str]:
        """The settings as environment variables, the password among them: for a process that has the same ones."""
        names = (name for name in type(self).model_fields if name in KafkaSettings.model_fields)
        values = {name: getattr(self, name) for name in names}
        return {
            name.upper(): value.get_secret_value() if isinstance(value, SecretStr) else str(value or "")
            for name, value in values.items()
        }


class KafkaSettings(KafkaSecurity):
    """How Kafka is reached."""

    kafka_bootstrap_servers: str = Field(description="`host:port,…`")


def _refuse(names: list[str], why: str) -> None:
    if names:
        verb = "is" if len(names) == 1 else "are"
        raise ValueError(f"{', '.join(map(str.upper, names))} {verb} {why}")


@dataclass(frozen=True, slots=True)
class KafkaClients:
    """Makes clients of one Kafka. They connect when they are started; certificates are read when they are made."""

    bootstrap_servers: str
    security_protocol: SecurityProtocol = "PLAINTEXT"
    sasl_mechanism: SaslMechanism | None = None
    sasl_username: str | None = None
    sasl_password: str | None = field(default=None, repr=False)
    ssl_ca: Path | None = None
    ssl_cert: Path | None = None
    ssl_key: Path | None = None

    @classmethod
    def of(cls, settings: KafkaSettings) -> Self:
        return cls.at(settings.kafka_bootstrap_servers, settings)

    @classmethod
    def at(cls, bootstrap_servers: str, settings: KafkaSecurity) -> Self:
        """With an address that is not among the settings."""
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
        return AIOKafkaProducer(bootstrap_servers=self.bootstrap_servers, **self._security(), **options)

    def admin(self, **options: Any) -> AIOKafkaAdminClient:
        return AIOKafkaAdminClient(bootstrap_servers=self.bootstrap_servers, **self._security(), **options)

    def client(self, **options: Any) -> AIOKafkaClient:
        return AIOKafkaClient(bootstrap_servers=self.bootstrap_servers, **self._security(), **options)

    async def connect(self, host: str, port: int, **options: Any) -> AIOKafkaConnection:
        """One connection, with what `options` change of the security settings. Raises `KafkaError`, `OSError`."""
        return await create_conn(host, port, **{**self._security(), **options})

    async def start(self, client: AIOKafkaConsumer | AIOKafkaProducer | AIOKafkaAdminClient | AIOKafkaClient) -> None:
        """Connect; what fails is closed. Raises `KafkaUnavailable`, which says why."""
        try:
            await (client.bootstrap() if isinstance(client, AIOKafkaClient) else client.start())
        except (KafkaError, OSError, TimeoutError) as error:
            await stop(client)
            raise KafkaUnavailable(await self.explain(error)) from error
        except BaseException:
            await stop(client)
            raise

    @asynccontextmanager
    async def started(self, client: ClientT) -> AsyncIterator[ClientT]:
        """A client that is connected, for the length of the context. Raises `KafkaUnavailable`, which says why."""
        await self.start(client)
        try:
            yield client
        finally:
            await stop(client)

    async def explain(self, error: BaseException) -> str:
        """What a client of these has failed of, in one sentence without accounts and passwords.

        It connects to the brokers to find out, for a few seconds at most.
        """
        return await explain(self, error)

    @property
    def uses_tls(self) -> bool:
        return self.security_protocol.endswith("SSL")

    @property
    def uses_sasl(self) -> bool:
        return self.security_protocol.startswith("SASL_")

    def _security(self) -> dict[str, Any]:
        return {
            "security_protocol": self.security_protocol,
            "ssl_context": _tls(self.ssl_ca, self.ssl_cert, self.ssl_key) if self.uses_tls else None,
            "sasl_mechanism": self.sasl_mechanism or "PLAIN",
            "sasl_plain_username": self.sasl_username,
            "sasl_plain_password": self.sasl_password,
        }


async def stop(client: AIOKafkaConsumer | AIOKafkaProducer | AIOKafkaAdminClient | AIOKafkaClient) -> None:
    """Close the client's connections."""
    has_no_stop = isinstance(client, AIOKafkaAdminClient | AIOKafkaClient)
    await (client.close() if has_no_stop else client.stop())


def _tls(ca: Path | None, cert: Path | None, key: Path | None) -> ssl.SSLContext:
    """Raises `ValueError`, which names the setting, if a file can't be used."""
    files = {"KAFKA_SSL_CA": ca, "KAFKA_SSL_CERT": cert, "KAFKA_SSL_KEY": key}
    changed = []
    for name, file in files.items():
        try:
            changed.append(0 if file is None else file.stat().st_mtime_ns)
        except OSError as error:
            raise ValueError(f"{name}: {file}: {error.strerror}") from error
    return _loaded(ca, cert, key, tuple(changed))


@lru_cache(maxsize=4)
def _loaded(ca: Path | None, cert: Path | None, key: Path | None, _changed: tuple[int, ...]) -> ssl.SSLContext:
    """Read again if a file has changed: certificates are renewed while a service runs."""
    try:
        context = ssl.create_default_context(cafile=ca)
    except OSError as error:
        raise ValueError(f"KAFKA_SSL_CA: {ca} has no certificate in PEM format") from error
    if cert is not None and key is not None:
        try:
            context.load_cert_chain(cert, key, password=_no_passphrase)
        except OSError as error:
            raise ValueError(
                f"KAFKA_SSL_CERT, KAFKA_SSL_KEY: {cert} and {key} are not a certificate and its key in PEM format"
            ) from error
    return context


def _no_passphrase() -> str:
    """Without it, OpenSSL would ask at the terminal."""
    raise ValueError("KAFKA_SSL_KEY has a passphrase; write it without one (openssl pkey -in … -out …)")
