"""Real components for every test: an embedded stack of the test process, started as far as its tests need it."""

import gc
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from sqlalchemy.ext.asyncio import AsyncEngine

from embedded_stack import Stack, temporary_stack
from service_kit.mysql import create_engine
from support.http_clients import cache_what_clients_load
from support.logs import use_plain_tracebacks

pytest_plugins = ["support.distribution", "support.failure_logs", "support.leaks", "support.unit_tests"]

# How long an example takes says more of the machine than of what is tested.
settings.register_profile("tandem", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tandem")
use_plain_tracebacks()
cache_what_clients_load()
# As in the services (`service_kit.server`): by default the garbage collector takes an eighth of the time.
gc.set_threshold(50_000, 20, 100)


def pytest_collection_finish() -> None:
    """What is loaded now stays."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def log_folder() -> Path:
    """`.stack-test/PROCESS`, where the logs of this test process's stacks are kept when they end."""
    return Path(__file__).parent / ".stack-test" / os.environ.get("PYTEST_XDIST_WORKER", "main")


@pytest.fixture(scope="session")
def random_share(pytestconfig: pytest.Config) -> float:
    """The share of their time that tests with random requests take: a third without the long tests."""
    return 1 / 3 if "not long" in pytestconfig.option.markexpr else 1.0


@pytest.fixture(scope="session")
def stack(log_folder: Path) -> Iterator[Stack]:
    """A stack on free ports with a temporary state folder, nothing of it started yet; each test process has its own."""
    with temporary_stack("tandem-test-", logs=log_folder / "stack") as stack:
        yield stack


@pytest.fixture(scope="session")
def mysql_root_url(stack: Stack) -> str:
    """`mysql://root:…@127.0.0.1:PORT/` of a running MySQL."""
    stack.start("mysql")
    return stack.addresses["MYSQL_ROOT_URL"]


@pytest.fixture
async def mysql_root(mysql_root_url: str) -> AsyncIterator[AsyncEngine]:
    """MySQL, as its administrator."""
    engine = create_engine(mysql_root_url)
    yield engine
    await engine.dispose()


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
def breakable_stack(running_stack: Stack) -> Iterator[Stack]:
    """A stack that a test may break; every component is started again after it."""
    yield running_stack
    running_stack.start()
