"""An Apache Kafka whose listeners have TLS and SASL, with certificates of an authority of its own.

`ada` may do everything, `bob` nothing that it is not granted; without a user name everything may be done, too.
"""

import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import chain
from pathlib import Path

import trustme

from embedded_stack import temporary_stack
from embedded_stack.components import Environment
from embedded_stack.components.kafka import Kafka
from service_kit.kafka_java import pkcs8, properties_file
from service_kit.kafka_settings import KafkaSettings
from support.ports import free_port

# With what must be escaped for Java.
PASSWORD = 'correct "hörse" \\battery €'
HOST = "localhost"
_MODULES = "org.apache.kafka.common.security"
_PROTOCOLS = {
    # With a certificate that is right; this one takes PLAIN and SCRAM.
    "sasl": "SASL_SSL",
    "scram": "SASL_SSL",
    "mutual": "SSL",
    "expired": "SSL",
    "misnamed": "SSL",
    "unencrypted": "SASL_PLAINTEXT",
    # It tells clients another address than its own.
    "astray": "PLAINTEXT",
}


@dataclass(frozen=True)
class Certificates:
    """Files in PEM format."""

    authority: trustme.CA
    ca: Path
    stranger: Path
    cert: Path
    key: Path

    @classmethod
    def make(cls, folder: Path) -> "Certificates":
        authority, client = trustme.CA(), folder / "client.pem"
        issued = authority.issue_cert("client.example", common_name="tandem")
        files = cls(authority, folder / "ca.pem", folder / "stranger.pem", client, folder / "client-key.pem")
        authority.cert_pem.write_to_path(str(files.ca))
        trustme.CA().cert_pem.write_to_path(str(files.stranger))
        files.cert.write_bytes(b"".join(pem.bytes() for pem in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(str(files.key))
        return files


class _Broker(Kafka):
    """Beside the plain listener that the stack's own parts use."""

    def __init__(self, environment: Environment, certificates: Certificates, ports: Mapping[str, int]) -> None:
        super().__init__(environment)
        self._certificates = certificates
        self._listener_ports = ports

    def prepare(self) -> None:
        super().prepare()
        with self._properties.open("a") as file:
            file.write(properties_file(self._secured()))

    def after_ready(self) -> None:
        """The tests create their own topics."""

    def _format(self, *options: str) -> None:
        with self._properties.open("a") as file:
            file.write(properties_file(self._secured()))
        users = (("--add-scram", f"SCRAM-SHA-512=[name={user},password={PASSWORD}]") for user in ("ada", "bob"))
        super()._format(*options, *chain.from_iterable(users))

    def run_tool(self, name: str, *arguments: str) -> None:
        subprocess.run(self.java("-XX:TieredStopAtLevel=1", name, *arguments), capture_output=True, check=True)

    def _secured(self) -> dict[str, str]:
        plain, controller = self.environment.port("kafka"), self.environment.port("kafka-controller")
        listeners = {name.upper(): f"{name.upper()}://127.0.0.1:{port}" for name, port in self._listener_ports.items()}
        ports = {**self._listener_ports, "astray": 1}
        advertised = {name.upper(): f"{name.upper()}://{HOST}:{port}" for name, port in ports.items()}
        own = {
            "listeners": f"PLAINTEXT://127.0.0.1:{plain},CONTROLLER://127.0.0.1:{controller},"
            + ",".join(listeners.values()),
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{plain}," + ",".join(advertised.values()),
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,"
            + ",".join(f"{name.upper()}:{protocol}" for name, protocol in _PROTOCOLS.items()),
            "inter.broker.listener.name": "PLAINTEXT",
            "sasl.enabled.mechanisms": "SCRAM-SHA-512,PLAIN",
            "listener.name.scram.sasl.enabled.mechanisms": "SCRAM-SHA-512",
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS;User:ada",
            "ssl.principal.mapping.rules": "RULE:^.*$/ada/",
            "listener.name.mutual.ssl.client.auth": "required",
        }
        escaped = PASSWORD.replace("\\", "\\\\").replace('"', '\\"')
        for name, protocol in _PROTOCOLS.items():
            if protocol.startswith("SASL"):
                users = f'user_ada="{escaped}" user_bob="{escaped}"'
                own[f"listener.name.{name}.plain.sasl.jaas.config"] = (
                    f"{_MODULES}.plain.PlainLoginModule required {users};"
                )
                own[f"listener.name.{name}.scram-sha-512.sasl.jaas.config"] = (
                    f"{_MODULES}.scram.ScramLoginModule required;"
                )
            if protocol.endswith("SSL"):
                own.update({f"listener.name.{name}.{key}": value for key, value in self._tls(name).items()})
        return own

    def _tls(self, name: str) -> dict[str, str]:
        host = "broker.example" if name == "misnamed" else HOST
        now = datetime.now(UTC)
        ends = now - timedelta(days=1) if name == "expired" else now + timedelta(days=1)
        issued = self._certificates.authority.issue_cert(host, not_before=now - timedelta(days=2), not_after=ends)
        return {
            "ssl.keystore.type": "PEM",
            "ssl.keystore.key": pkcs8(issued.private_key_pem.bytes()),
            "ssl.keystore.certificate.chain": "".join(pem.bytes().decode() for pem in issued.cert_chain_pems),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.certificates": self._certificates.ca.read_text(),
        }


@dataclass(frozen=True)
class SecuredKafka:
    """`plain` is the address of the listener without TLS and SASL."""

    plain: str
    certificates: Certificates
    ports: Mapping[str, int]
    _broker: _Broker = field(repr=False)

    def grant(self, user: str, resource: str, names: Sequence[str], operations: Sequence[str]) -> None:
        """Rights on each `topic` or `group` of these names, all prefixes (`name*`) or none, or on the `cluster`.

        One call of Kafka's tool, which takes seconds.
        """
        on: Iterable[str] = chain.from_iterable((f"--{resource}", name.removesuffix("*")) for name in names)
        if resource == "cluster":
            on = ["--cluster"]
        pattern = ["--resource-pattern-type", "prefixed"] if any(name.endswith("*") for name in names) else []
        rights = chain.from_iterable(("--operation", each) for each in operations)
        arguments = ["--bootstrap-server", self.plain, "--add", "--allow-principal", f"User:{user}"]
        self._broker.run_tool("org.apache.kafka.tools.AclCommand", *arguments, *on, *pattern, *rights)

    def address(self, listener: str) -> str:
        return f"{HOST}:{self.ports[listener]}"

    def settings(self, listener: str = "sasl", **changed: str) -> KafkaSettings:
        values = {name.lower(): value for name, value in self.variables(listener, **changed).items()}
        return KafkaSettings.model_validate(values)

    def variables(self, listener: str = "sasl", **changed: str) -> dict[str, str]:
        """How a service reaches a listener; `changed` without `KAFKA_`."""
        protocol = _PROTOCOLS[listener]
        own = {"BOOTSTRAP_SERVERS": self.address(listener), "SECURITY_PROTOCOL": protocol}
        if protocol.endswith("SSL"):
            own["SSL_CA"] = str(self.certificates.ca)
        if protocol.startswith("SASL"):
            own |= {"SASL_MECHANISM": "SCRAM-SHA-512", "SASL_USERNAME": "ada", "SASL_PASSWORD": PASSWORD}
        return {f"KAFKA_{name}": value for name, value in {**own, **changed}.items()}


@contextmanager
def secured_kafka(folder: Path, logs: Path) -> Iterator[SecuredKafka]:
    certificates = Certificates.make(folder)
    ports = {name: free_port() for name in _PROTOCOLS}
    with temporary_stack("tandem-tls-", logs=logs) as stack:
        environment = stack.components["kafka"].environment
        broker = stack.components["kafka"] = _Broker(environment, certificates, ports)
        stack.start("kafka")
        yield SecuredKafka(stack.addresses["KAFKA_BOOTSTRAP_SERVERS"], certificates, ports, broker)
