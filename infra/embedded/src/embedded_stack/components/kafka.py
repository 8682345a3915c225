"""Apache Kafka in KRaft mode: each process is a broker and a controller, with durable data."""

import asyncio
import base64
import logging
import shutil
import string
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

from embedded_stack.components.base import LOOPBACK, numbered
from embedded_stack.components.java import LOGGING_OPTION, JavaComponent
from embedded_stack.components.services import registrar_environment, script
from embedded_stack.configuration import REPOSITORY
from embedded_stack.errors import StackError
from embedded_stack.process import Command
from service_kit.kafka_java import escaped_property

CONFIGURATION = REPOSITORY / "infra" / "kafka"
TOPICS = REPOSITORY / "infra" / "connect" / "topics.yaml"
_WITHOUT_DATA = (
    "the connectors take a snapshot; `sync-service reconcile --repair` finds rows that were deleted in the meantime"
)


class Kafka(JavaComponent):
    name = "kafka"
    ports = ("kafka", "kafka-controller")
    grace = 60

    @property
    def outside(self) -> str | None:
        return self.environment.configuration.outside_kafka

    def prepare(self) -> None:
        topology = self.environment.topology
        template = string.Template((CONFIGURATION / "server.properties").read_text())
        self._properties.write_text(
            template.substitute(
                KAFKA_NODE_ID=self.member,
                KAFKA_PORT=self._port,
                KAFKA_CONTROLLER_PORT=self.environment.port(self.ports[1]),
                KAFKA_VOTERS=",".join(self._voters()),
                KAFKA_REPLICAS=topology.kafka,
                KAFKA_MIN_ISR=topology.min_insync_replicas,
                KAFKA_LOG_DIRS=escaped_property(str(self._logs)),
            )
        )
        if not self._is_formatted():
            if (self.environment.configuration.state / "log" / "sync.log").exists():
                print(
                    f"{self.name:<10} has no data, although the stack ran before: {_WITHOUT_DATA}",
                    flush=True,
                )
            shutil.rmtree(self._logs, ignore_errors=True)
            self._format()

    def _is_formatted(self) -> bool:
        """Raises `StackError` if the folder has data but not the id of its cluster.

        With a new id the broker would start and serve none of the existing records.
        """
        meta = self._logs / "meta.properties"
        if meta.exists() and "cluster.id=" in meta.read_text():
            return True
        if (self._logs / "__cluster_metadata-0").exists():
            raise StackError(
                f"Kafka's data is damaged: {meta} is missing or empty. Restore it from a backup of {self._folder}, or "
                f"delete that folder: then {_WITHOUT_DATA}."
            )
        return False

    def command(self) -> Command:
        options = ("-Xms128m", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
        arguments = (*self.class_archive(), *options, LOGGING_OPTION, "kafka.Kafka", str(self._properties))
        return Command(self.java(*arguments), self.variables)

    def is_ready(self) -> bool:
        asyncio.run(self._ask())
        return True

    def after_ready(self) -> None:
        """Create the topics, when all brokers are ready."""
        if self.member > 1:
            return
        done = subprocess.run(
            [script("registrar"), "topics"],
            env=registrar_environment(self.environment),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise StackError(f"The topics can't be created: {(done.stdout + done.stderr).strip()}")

    def after_ready_inputs(self) -> bytes:
        return TOPICS.read_bytes() + self.environment.configuration.routes.read_bytes()

    def _format(self, *options: str) -> None:
        """Format the log folder. Tests add users by `options`.

        All brokers of a stack have the same cluster id, so it is derived from the state folder.
        """
        identity = uuid.uuid5(uuid.NAMESPACE_URL, self.environment.configuration.state.as_uri())
        # Kafka's text form of a UUID. A leading dash would be parsed as an option.
        cluster = "T" + base64.urlsafe_b64encode(identity.bytes).decode().rstrip("=")[1:]
        arguments = ("format", "--cluster-id", cluster, "--config", str(self._properties))
        command = self.java("-XX:TieredStopAtLevel=1", "kafka.tools.StorageTool", *arguments, *options)
        done = subprocess.run(command, env=self.variables, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise StackError(f"Kafka can't format its data folder: {(done.stderr or done.stdout).strip()[-500:]}")

    async def _ask(self) -> None:
        from service_kit.kafka import KafkaClients  # noqa: PLC0415 - a supervisor has no use for it and runs for long

        # While the broker starts, aiokafka would log each failed connection as an error.
        logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
        kafka = KafkaClients(f"{LOOPBACK}:{self._port}")
        async with kafka.started(kafka.admin(request_timeout_ms=2000)):
            pass

    def _voters(self) -> Iterator[str]:
        for number in range(1, self.environment.topology.kafka + 1):
            yield f"{number}@{LOOPBACK}:{self.environment.port(numbered('kafka-controller', number))}"

    @property
    def _port(self) -> int:
        return self.environment.port(self.ports[0])

    @property
    def _folder(self) -> Path:
        return self.environment.data(self.name)

    @property
    def _logs(self) -> Path:
        return self._folder / "logs"

    @property
    def _properties(self) -> Path:
        return self._folder / "server.properties"
