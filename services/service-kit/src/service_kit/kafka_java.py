"""The security settings of Kafka as properties of Java clients: for Kafka Connect and its connectors."""

import re
from collections.abc import Mapping

from service_kit.kafka_settings import KafkaSecurity

_LOGIN_MODULES = "org.apache.kafka.common.security"


def java_properties(kafka: KafkaSecurity) -> dict[str, str]:
    """Empty for plain text. Values contain certificates and key, not paths, because Connect may run elsewhere.

    Raises `OSError` if a file can't be read.
    """
    if kafka.kafka_security_protocol == "PLAINTEXT":
        return {}
    properties: dict[str, str] = {"security.protocol": kafka.kafka_security_protocol}
    if kafka.kafka_sasl_mechanism is not None:
        properties["sasl.mechanism"] = kafka.kafka_sasl_mechanism
        properties["sasl.jaas.config"] = _login(kafka)
    if kafka.kafka_ssl_ca is not None:
        properties["ssl.truststore.type"] = "PEM"
        properties["ssl.truststore.certificates"] = kafka.kafka_ssl_ca.read_text()
    if kafka.kafka_ssl_cert is not None and kafka.kafka_ssl_key is not None:
        properties["ssl.keystore.type"] = "PEM"
        properties["ssl.keystore.certificate.chain"] = kafka.kafka_ssl_cert.read_text()
        properties["ssl.keystore.key"] = pkcs8(kafka.kafka_ssl_key.read_bytes())
    return properties


def prefixed(properties: Mapping[str, str], *prefixes: str) -> dict[str, str]:
    """All properties, once with each prefix."""
    return {f"{prefix}{name}": value for prefix in prefixes for name, value in properties.items()}


def properties_file(properties: Mapping[str, str]) -> str:
    """The lines of a file for `java.util.Properties`. Names need no escapes, because they are names of settings."""
    return "".join(f"{name}={escaped_property(value)}\n" for name, value in properties.items())


def escaped_property(value: str) -> str:
    """A value in a file that Java reads as ISO 8859-1 (java.util.Properties, `load`): ASCII, all else as `\\uXXXX`.

    A code point above U+FFFF becomes two escapes, as in UTF-16.
    """
    text = _TO_ESCAPE.sub(lambda found: _escape(found[0]), value)
    # Leading blanks would be skipped.
    return f"\\{text}" if text.startswith(" ") else text


_TO_ESCAPE = re.compile(r"[^ -~]|\\")


def _escape(character: str) -> str:
    if character == "\\":
        return "\\\\"
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))


def _login(kafka: KafkaSecurity) -> str:
    module = "plain.PlainLoginModule" if kafka.kafka_sasl_mechanism == "PLAIN" else "scram.ScramLoginModule"
    password = kafka.kafka_sasl_password.get_secret_value() if kafka.kafka_sasl_password is not None else ""
    user, password = _quoted(kafka.kafka_sasl_username or ""), _quoted(password)
    return f"{_LOGIN_MODULES}.{module} required username={user} password={password};"


def _quoted(text: str) -> str:
    """A string for a login module. A line break would end it (java.io.StreamTokenizer)."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\r", "\\r")
    return f'"{escaped}"'


def pkcs8(pem: bytes) -> str:
    """A private key as PKCS #8, the only format that Java reads."""
    # Imported here because it takes memory, and few installations use client keys.
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415

    key = serialization.load_pem_private_key(pem, password=None)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
