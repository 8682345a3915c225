"""Real components for every test: an embedded stack of the test run's own, started as far as a test asks for it."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from embedded_stack import Stack, StackConfiguration
from embedded_stack.configuration import free_port_offset


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """A stack on free ports with a temporary state folder, nothing of it started yet.

    Its logs are kept in `.stack-test/log` when the run ends, for a look at what went wrong.
    """
    state = Path(tempfile.mkdtemp(prefix="tandem-test-"))
    # The environment's MYSQL_URL and the like must not lead tests to somebody's real database.
    outside = dict.fromkeys(("outside_mysql", "outside_mysql_account", "outside_mongodb", "outside_kafka"))
    stack = Stack(StackConfiguration(state_dir=state, port_offset=free_port_offset(), outside_connect=None, **outside))
    yield stack
    stack.stop(drain=False)
    logs = Path(__file__).parent / ".stack-test" / "log"
    shutil.rmtree(logs, ignore_errors=True)
    if (state / "log").exists():
        shutil.copytree(state / "log", logs)
    shutil.rmtree(state)


@pytest.fixture(scope="session")
def mysql_root_url(stack: Stack) -> str:
    """`mysql://root:…@127.0.0.1:PORT/` of a running MySQL."""
    stack.start("mysql")
    return stack.addresses["MYSQL_ROOT_URL"]


@pytest.fixture(scope="session")
def mongodb_url(stack: Stack) -> str:
    """`mongodb://127.0.0.1:PORT/?replicaSet=rs0` of a running MongoDB."""
    stack.start("mongo")
    return stack.addresses["MONGODB_URL"].replace("/tweets?", "/?")


@pytest.fixture(scope="session")
def kafka_bootstrap_servers(stack: Stack) -> str:
    """`127.0.0.1:PORT` of a running broker, with Tandem's topics."""
    stack.start("kafka")
    return stack.addresses["KAFKA_BOOTSTRAP_SERVERS"]


@pytest.fixture(scope="session")
def running_stack(stack: Stack) -> Stack:
    """Every component up."""
    stack.start()
    return stack
