"""Finds the reason why Kafka can't be used, in one sentence for `/readyz` and the command line.

aiokafka logs the reason of a failed connection, and raises an error without it. So this module connects again to find
it: with the same settings, and if necessary with others, without sending the password.
"""

import asyncio
import os
import re
import ssl
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from aiokafka.conn import AIOKafkaConnection, collect_hosts
from aiokafka.errors import (
    BrokerResponseError,
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    IllegalSaslStateError,
    KafkaConnectionError,
    KafkaError,
    RequestTimedOutError,
    SaslAuthenticationFailed,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
    UnsupportedSaslMechanismError,
)
from aiokafka.protocol.admin import SaslHandShakeRequest
from aiokafka.protocol.metadata import MetadataRequest

if TYPE_CHECKING:
    from service_kit.kafka import KafkaClients

# Timeouts of one connection, and of all together.
PROBE_SECONDS, PROBES_SECONDS = 3.0, 8.0
# OpenSSL's X509_V_ERR_…
_NOT_YET_VALID, _EXPIRED = 9, 10
_OTHER_NAME = {62, 63, 64}
_ERROR_NUMBER = re.compile(r"\[Errno ([0-9]+)\]")


_DENIED_RESOURCE = {
    TopicAuthorizationFailedError: "topic",
    GroupAuthorizationFailedError: "group",
    ClusterAuthorizationFailedError: "cluster",
}
_DENIED = tuple(_DENIED_RESOURCE)


class KafkaUnavailable(  # noqa: N818 - a state of the broker, not a bug
    KafkaError  # type: ignore[misc]  # published without type information
):
    """The message is the reason, in one sentence."""

    def __str__(self) -> str:
        return str(self.args[0])


async def explain(kafka: "KafkaClients", error: BaseException) -> str:
    """The reason of a client's error, in one sentence."""
    return (
        _known_reason(error)
        or await _diagnose(kafka)
        or f"the broker at {kafka.bootstrap_servers} does not answer: {_text(error)}"
    )


def _known_reason(error: BaseException) -> str | None:
    """The reason if the broker or an earlier call has given it."""
    if isinstance(error, _DENIED):
        names = names_in(error)
        kind = next(what for denied, what in _DENIED_RESOURCE.items() if isinstance(error, denied))
        what = f"{kind}{'s' if len(names) > 1 else ''} {', '.join(names)}".rstrip()
        return f"Kafka denies this user access to the {what}: rights (ACLs) are missing"
    match error:
        case KafkaUnavailable():
            return str(error)
        case UnknownTopicOrPartitionError(args=[str(topic), *_]):
            return topic
        # aiokafka raises this for a timeout of its own, too.
        case RequestTimedOutError():
            return None
        case BrokerResponseError():
            return f"the broker answers with an error: {error}"
    return None


def names_in(error: BaseException) -> list[str]:
    """The topics or groups in an error of aiokafka, sorted. It has one name, or a collection of names."""
    names: set[str] = set()
    for each in error.args:
        names.update([each] if isinstance(each, str) else map(str, each) if isinstance(each, Iterable) else [])
    return sorted(names)


async def _diagnose(kafka: "KafkaClients") -> str | None:
    """None if no probe finds a reason."""
    try:
        async with asyncio.timeout(PROBES_SECONDS):
            return await _probe_all(kafka)
    except TimeoutError:
        return None


async def _probe_all(kafka: "KafkaClients") -> str | None:
    hosts = [(host, port) for host, port, _ in collect_hosts(kafka.bootstrap_servers)]
    reasons: list[str] = []
    for host, port in hosts:
        probe = _Probe(kafka, host, port)
        reason, brokers = await probe.run()
        if reason is None:
            return await _probe_advertised(kafka, probe, [each for each in brokers if each not in hosts])
        # A refusal of one broker says more than another broker that is down.
        reasons.insert(0, reason) if probe.answers else reasons.append(reason)
    return reasons[0] if reasons else None


async def _probe_advertised(kafka: "KafkaClients", via: "_Probe", brokers: Iterable[tuple[str, int]]) -> str | None:
    for host, port in brokers:
        reason, _ = await _Probe(kafka, host, port).run()
        if reason is not None:
            return f"the broker at {via.address} answers and names {host}:{port} (advertised.listeners), but {reason}"
    return None


class _Probe:
    """One broker. `answers` is False if nothing listens at its address."""

    def __init__(self, kafka: "KafkaClients", host: str, port: int) -> None:
        self._kafka = kafka
        self._host = host
        self._port = port
        self.address = f"{host}:{port}"
        self.answers = True

    async def run(self) -> tuple[str | None, list[tuple[str, int]]]:
        """The reason, or None and the addresses that the brokers advertise."""
        try:
            connection = await self._connect()
        except KafkaUnavailable as error:
            return str(error), []
        except (KafkaError, OSError, TimeoutError) as error:
            return await self._reason(error), []
        try:
            metadata = await connection.send(MetadataRequest([]))
        except (KafkaError, TimeoutError) as error:
            return await self._reason(error), []
        finally:
            connection.close()
        return None, [(host, port) for _, host, port, *_ in metadata.brokers]

    async def _connect(self, **options: Any) -> AIOKafkaConnection:
        return await self._kafka.connect(
            self._host, self._port, request_timeout_ms=int(PROBE_SECONDS * 1000), **options
        )

    async def _reason(self, error: BaseException) -> str:
        protocol = self._kafka.security_protocol
        match error:
            case SaslAuthenticationFailed():
                return f"the broker at {self.address} refuses KAFKA_SASL_USERNAME or KAFKA_SASL_PASSWORD"
            case UnsupportedSaslMechanismError():
                offered = ", ".join(await self._mechanisms() or ()) or "others"
                return (
                    f"the broker at {self.address} does not offer "
                    f"KAFKA_SASL_MECHANISM={self._kafka.sasl_mechanism}, but {offered}"
                )
            case IllegalSaslStateError():
                return f"the broker at {self.address} takes no user names, but KAFKA_SECURITY_PROTOCOL is {protocol}"
        # The cause of the lost connection, if aiokafka has kept it.
        cause = (isinstance(error, KafkaConnectionError) and error.__cause__) or error
        if isinstance(cause, ssl.SSLCertVerificationError):
            return self._certificate(cause)
        if isinstance(cause, ssl.SSLError) and (client := self._client_certificate(cause)):
            return client
        return await self._other_protocol() or self._no_answer(cause)

    def _certificate(self, error: ssl.SSLCertVerificationError) -> str:
        certificate, why = f"the certificate of the broker at {self.address}", error.verify_message
        match error.verify_code:
            case code if code in _OTHER_NAME:
                return f"{certificate} is for another host: {why}"
            case code if code == _EXPIRED:
                return f"{certificate} (or that of its CA) has expired"
            case code if code == _NOT_YET_VALID:
                return f"{certificate} (or that of its CA) is not valid yet"
        trusted = "the CA in KAFKA_SSL_CA" if self._kafka.ssl_ca else "a CA that this system knows; set KAFKA_SSL_CA"
        return f"{certificate} is not signed by {trusted}: {why}"

    def _client_certificate(self, error: ssl.SSLError) -> str | None:
        if "CERTIFICATE" not in (error.reason or "") or "ALERT" not in (error.reason or ""):
            return None
        if self._kafka.ssl_cert is None:
            return f"the broker at {self.address} asks for a certificate: set KAFKA_SSL_CERT and KAFKA_SSL_KEY"
        return f"the broker at {self.address} refuses the certificate in KAFKA_SSL_CERT: {error.reason}"

    async def _other_protocol(self) -> str | None:
        """The reason if the broker expects another security protocol."""
        protocol = self._kafka.security_protocol
        if self._kafka.uses_tls and await self._speaks_plain():
            return f"the broker at {self.address} does not speak TLS, but KAFKA_SECURITY_PROTOCOL is {protocol}"
        if not self._kafka.uses_tls and await self._speaks_tls():
            return f"the broker at {self.address} speaks TLS, but KAFKA_SECURITY_PROTOCOL is {protocol}"
        if not self._kafka.uses_sasl and await self._mechanisms() is not None:
            return f"the broker at {self.address} asks for a user name, but KAFKA_SECURITY_PROTOCOL is {protocol}"
        return None

    async def _speaks_plain(self) -> bool:
        try:
            connection = await self._connect(security_protocol="PLAINTEXT")
        except (KafkaError, OSError, TimeoutError):
            return False
        connection.close()
        return True

    async def _speaks_tls(self) -> bool:
        # No data is sent, so the certificate needs no verification.
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                _, writer = await asyncio.open_connection(self._host, self._port, ssl=context)
        except (OSError, TimeoutError):
            return False
        writer.close()
        return True

    async def _mechanisms(self) -> list[str] | None:
        """The SASL mechanisms of the broker; None if it does not support SASL at this address."""
        try:
            connection = await self._connect(security_protocol="SSL" if self._kafka.uses_tls else "PLAINTEXT")
        except (KafkaError, OSError, TimeoutError):
            return None
        try:
            # The response to any name lists all mechanisms.
            answer = await connection.send(SaslHandShakeRequest(self._kafka.sasl_mechanism or "PLAIN"))
        except (KafkaError, TimeoutError):
            return None
        finally:
            connection.close()
        return None if answer.error_code == IllegalSaslStateError.errno else sorted(answer.enabled_mechanisms)

    def _no_answer(self, cause: BaseException) -> str:
        if isinstance(cause, asyncio.IncompleteReadError) and cause.partial:
            return f"the program at {self.address} is no Kafka broker: it answers in another protocol"
        self.answers = False
        return f"the broker at {self.address} does not answer: {_text(cause)}"


def _error_number(error: OSError) -> int:
    found = _ERROR_NUMBER.search(str(error))
    return int(found[1]) if found else 0


def _text(error: BaseException) -> str:
    """The message in one line; the class name if there is no message."""
    if isinstance(error, OSError) and (number := error.errno or _error_number(error)) > 0:
        # The same text for every event loop, and for a host name with several addresses.
        return os.strerror(number)
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, RequestTimedOutError):
        return "a request timed out"
    return " ".join(str(error).split()) or type(error).__name__
