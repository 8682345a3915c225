"""Real components for every test: an embedded stack of the test run's own, started as far as a test asks for it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from embedded_stack import Stack, temporary_stack

# How long an example takes says more of the machine than of what is tested.
settings.register_profile("tandem", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tandem")


@pytest.fixture(scope="session")
def stack(worker_id: str) -> Iterator[Stack]:
    """A stack on free ports with a temporary state folder, nothing of it started yet; each test process has its own.

    Its logs are kept in `.stack-test/PROCESS` when the run ends, for a look at what went wrong.
    """
    with temporary_stack("tandem-test-", logs=Path(__file__).parent / ".stack-test" / worker_id) as stack:
        yield stack


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


@pytest.fixture
def whole_again(running_stack: Stack) -> Iterator[Stack]:
    """A stack that a test may break; every component is up again behind it."""
    yield running_stack
    running_stack.start()
