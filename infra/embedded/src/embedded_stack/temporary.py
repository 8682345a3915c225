"""A temporary stack, for tests, benchmarks and fault tests."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from embedded_stack.configuration import StackConfiguration, reserved_port_offset
from embedded_stack.stack import Progress, Stack, silent
from embedded_stack.topology import SINGLE, Topology
from service_kit.kafka_settings import KafkaSecurity, KafkaSettings


@contextmanager
def temporary_stack(
    prefix: str,
    *,
    logs: Path | None = None,
    progress: Progress = silent,
    kafka: KafkaSettings | None = None,
    exactly_once: bool = False,
    topology: Topology = SINGLE,
) -> Iterator[Stack]:
    """A stack on free ports, in a temporary folder whose name starts with `prefix`. Nothing is started yet.

    At the end it is stopped, and its logs replace the content of `logs`. `kafka` is an external broker, used instead of
    an embedded one. `exactly_once` is CONNECT_EXACTLY_ONCE.
    """
    state = Path(tempfile.mkdtemp(prefix=prefix))
    # MYSQL_URL and similar variables of the environment must not lead a test to a real database.
    outside: dict[str, Any] = dict.fromkeys(
        ("outside_mysql", "outside_mysql_account", "outside_mongodb", "outside_connect", "routes_file")
    )
    outside["kind"] = "full"
    security = KafkaSecurity.model_construct() if kafka is None else kafka
    outside |= {name: getattr(security, name) for name in KafkaSecurity.model_fields}
    outside["outside_kafka"] = None if kafka is None else kafka.kafka_bootstrap_servers
    with reserved_port_offset() as offset:
        configuration = StackConfiguration(
            state_dir=state, port_offset=offset, connect_exactly_once=exactly_once, **outside
        )
        stack = Stack(configuration, progress=progress, topology=topology)
        try:
            yield stack
        finally:
            if topology != SINGLE:
                # The last members of a cluster would wait for those that have stopped, and the data is deleted anyway.
                for name in reversed(stack.components):
                    stack.kill(name)
            stack.stop()
            if logs is not None:
                shutil.rmtree(logs, ignore_errors=True)
                if (state / "log").exists():
                    shutil.copytree(state / "log", logs)
            shutil.rmtree(state)
