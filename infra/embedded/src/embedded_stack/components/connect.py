"""Kafka Connect with Debezium's connectors."""

import string
from pathlib import Path

from embedded_stack.components.base import LOOPBACK, responds_ok
from embedded_stack.components.java import LOGGING_OPTION, JavaComponent
from embedded_stack.configuration import REPOSITORY
from embedded_stack.process import Command
from service_kit.kafka_java import escaped_property, java_properties, prefixed, properties_file

# The settings of all workers, and those of the embedded one only.
WORKER_SETTINGS = REPOSITORY / "infra" / "connect" / "worker.properties"
EMBEDDED_SETTINGS = REPOSITORY / "infra" / "embedded" / "worker.properties"

EXACTLY_ONCE = "exactly.once.source.support"


class Connect(JavaComponent):
    name = "connect"
    depends_on = ("kafka",)
    ports = ("connect",)
    # The first JVM that ends writes the archive of classes.
    grace = 60

    @property
    def outside(self) -> str | None:
        return self.environment.configuration.outside_connect

    def fetch(self) -> None:
        super().fetch()
        self.jars("connectors")

    def prepare(self) -> None:
        self._link_plugins()
        template = string.Template(EMBEDDED_SETTINGS.read_text())
        security = java_properties(self.environment.configuration.kafka_security)
        self._worker_properties.write_text(
            WORKER_SETTINGS.read_text()
            + template.substitute(
                KAFKA_BOOTSTRAP_SERVERS=escaped_property(self.environment.addresses["KAFKA_BOOTSTRAP_SERVERS"]),
                CONNECT_HOST=LOOPBACK,
                CONNECT_PORT=str(self._port),
                CONNECT_PLUGIN_PATH=escaped_property(str(self._plugins)),
            )
            + properties_file({EXACTLY_ONCE: "enabled"} if self.environment.configuration.connect_exactly_once else {})
            # For the worker's own clients and for those that it creates for connectors.
            + properties_file(prefixed(security, "", "producer.", "consumer.", "admin."))
        )

    def command(self) -> Command:
        options = (*self.class_archive(), "-Xms128m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
        main = "org.apache.kafka.connect.cli.ConnectDistributed"
        arguments = (*options, LOGGING_OPTION, main, str(self._worker_properties))
        return Command(self.java(*arguments), self.variables)

    def is_ready(self) -> bool:
        return responds_ok(f"http://{LOOPBACK}:{self._port}/connectors")

    @property
    def _port(self) -> int:
        return self.environment.port(self.ports[0])

    def _link_plugins(self) -> None:
        """Link the jars into the plugin path, in which each folder is one plugin."""
        self._plugins.mkdir(exist_ok=True)
        link = self._plugins / "debezium"
        link.unlink(missing_ok=True)
        link.symlink_to(self.jars("connectors"), target_is_directory=True)

    @property
    def _plugins(self) -> Path:
        return self.environment.data(self.name) / "plugins"

    @property
    def _worker_properties(self) -> Path:
        return self.environment.data(self.name) / "worker.properties"
