"""The security settings of Kafka in the words of Java's clients: for Kafka Connect and what runs in it."""

from collections.abc import Mapping

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from service_kit.kafka import KafkaClients

_LOGIN_MODULES = "org.apache.kafka.common.security"


def java_properties(kafka: KafkaClients) -> dict[str, str]:
    """Nothing for plain text. Certificates and key are in the values, not their paths: Connect may run elsewhere.

    Raises `OSError`: a file can't be read.
    """
    if kafka.security_protocol == "PLAINTEXT":
        return {}
    properties: dict[str, str] = {"security.protocol": kafka.security_protocol}
    if kafka.uses_sasl and kafka.sasl_mechanism is not None:
        properties["sasl.mechanism"] = kafka.sasl_mechanism
        properties["sasl.jaas.config"] = _login(kafka)
    if kafka.uses_tls and kafka.ssl_ca is not None:
        properties["ssl.truststore.type"] = "PEM"
        properties["ssl.truststore.certificates"] = kafka.ssl_ca.read_text()
    if kafka.uses_tls and kafka.ssl_cert is not None and kafka.ssl_key is not None:
        properties["ssl.keystore.type"] = "PEM"
        properties["ssl.keystore.certificate.chain"] = kafka.ssl_cert.read_text()
        properties["ssl.keystore.key"] = pkcs8(kafka.ssl_key.read_bytes())
    return properties


def prefixed(properties: Mapping[str, str], *prefixes: str) -> dict[str, str]:
    """All of them once with each prefix."""
    return {f"{prefix}{name}": value for prefix in prefixes for name, value in properties.items()}


def properties_file(properties: Mapping[str, str]) -> str:
    """Lines of a file as `java.util.Properties` reads it."""
    return "".join(f"{name}={_escaped(value)}\n" for name, value in properties.items())


def _escaped(value: str) -> str:
    text = value.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "")
    # A blank at the beginning would be skipped.
    return f"\\{text}" if text.startswith(" ") else text


def _login(kafka: KafkaClients) -> str:
    module = "plain.PlainLoginModule" if kafka.sasl_mechanism == "PLAIN" else "scram.ScramLoginModule"
    user, password = (_quoted(each or "") for each in (kafka.sasl_username, kafka.sasl_password))
    return f"{_LOGIN_MODULES}.{module} required username={user} password={password};"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def pkcs8(pem: bytes) -> str:
    """A private key in the one form that Java reads."""
    key = load_pem_private_key(pem, password=None)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
