"""Settings of Kafka: address, TLS, SASL and the size of records. Separate from the clients, which take time and memory
to import.
"""

import os
import ssl
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator

from service_kit.settings import EnvironmentSettings

SecurityProtocol = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
SaslMechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]

# A document of 16 MB, MongoDB's largest, is mostly less than 32 MB as JSON.
MAX_RECORD_BYTES = 32 * 1024 * 1024
# A dead letter is larger than its event by its headers.
HEADERS_BYTES = 1024 * 1024


class KafkaSecurity(EnvironmentSettings):
    """TLS and SASL. An empty variable counts as not set, so that Compose can pass all variables."""

    kafka_security_protocol: SecurityProtocol = Field(
        default="PLAINTEXT",
        description="With `SSL` and `SASL_SSL` the certificate and host name of the broker are verified.",
    )
    kafka_sasl_mechanism: SaslMechanism | None = Field(
        default=None, description="`PLAIN`, `SCRAM-SHA-256` or `SCRAM-SHA-512`; required for `SASL_…`."
    )
    kafka_sasl_username: str | None = Field(default=None, description="Required for `SASL_…`.")
    kafka_sasl_password: SecretStr | None = Field(default=None, description="Required for `SASL_…`.")
    kafka_ssl_ca: Path | None = Field(
        default=None,
        description="PEM file of the CA that signed the brokers' certificates; the CAs of the system if not set.",
    )
    kafka_ssl_cert: Path | None = Field(
        default=None, description="PEM file of the client's certificate and its chain, if the brokers require one."
    )
    kafka_ssl_key: Path | None = Field(
        default=None, description="PEM file of the client certificate's private key, without a passphrase."
    )

    @field_validator("kafka_security_protocol", mode="before")
    @classmethod
    def _default_if_empty(cls, value: Any) -> Any:
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
    def _none_if_empty(cls, value: Any) -> Any:
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
        tls_context(self.kafka_ssl_ca, self.kafka_ssl_cert, self.kafka_ssl_key)
        return self

    def kafka_variables(self) -> dict[str, str]:
        """The settings as environment variables, including the password, for a child process."""
        names = (name for name in type(self).model_fields if name in KafkaSecurity.model_fields)
        values = {name: getattr(self, name) for name in names}
        return {
            name.upper(): value.get_secret_value() if isinstance(value, SecretStr) else str(value or "")
            for name, value in values.items()
        }


class RecordSettings(EnvironmentSettings):
    """The size of records. An empty variable counts as not set."""

    kafka_max_record_bytes: int = Field(
        default=MAX_RECORD_BYTES,
        ge=1024 * 1024,
        le=1024 * 1024 * 1024,
        description="The largest change event. The registrar sets it for the connectors' producers and, with 1 MiB for "
        "the headers of a dead letter, as the least `max.message.bytes` of each topic. Set it for sync and registrar.",
    )

    @field_validator("kafka_max_record_bytes", mode="before")
    @classmethod
    def _default_size_if_empty(cls, value: Any) -> Any:
        return MAX_RECORD_BYTES if value == "" else value

    @property
    def kafka_max_message_bytes(self) -> int:
        """The largest dead letter, and so the `max.message.bytes` of each topic."""
        return self.kafka_max_record_bytes + HEADERS_BYTES


class KafkaSettings(KafkaSecurity, RecordSettings):
    """Address and security of Kafka, and the size of its records."""

    kafka_bootstrap_servers: str = Field(description="`host:port,…`")


def _refuse(names: list[str], why: str) -> None:
    if names:
        verb = "is" if len(names) == 1 else "are"
        raise ValueError(f"{', '.join(map(str.upper, names))} {verb} {why}")


def tls_context(ca: Path | None, cert: Path | None, key: Path | None) -> ssl.SSLContext:
    """A TLS context. Raises `ValueError` that names the setting if a file can't be used."""
    files = {"KAFKA_SSL_CA": ca, "KAFKA_SSL_CERT": cert, "KAFKA_SSL_KEY": key}
    changed = []
    for name, file in files.items():
        try:
            changed.append(0 if file is None else _modified_at(file))
        except OSError as error:
            raise ValueError(f"{name}: {file}: {error.strerror}") from error
    return _cached_context(ca, cert, key, tuple(changed))


def _modified_at(file: Path) -> int:
    """In nanoseconds. Raises `OSError` if the file can't be read: OpenSSL would not name the file."""
    with file.open("rb") as opened:
        return os.fstat(opened.fileno()).st_mtime_ns


@lru_cache(maxsize=4)
def _cached_context(ca: Path | None, cert: Path | None, key: Path | None, _changed: tuple[int, ...]) -> ssl.SSLContext:
    """The cache key contains the times of change, because certificates are renewed while a service runs."""
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
    """OpenSSL would ask for the passphrase at the terminal."""
    raise ValueError("KAFKA_SSL_KEY has a passphrase; write it without one (openssl pkey -in … -out …)")
