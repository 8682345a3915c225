"""The system under test: the stack, and clients of all its parts."""

import asyncio
import enum
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from embedded_stack import Stack, temporary_stack
from embedded_stack.configuration import REPOSITORY
from embedded_stack.topology import SINGLE, Topology
from faults.databases import Databases
from faults.expected_state import ExpectedState
from faults.sync_processes import Counts, SecondMember
from faults.topics import DeadLetterTracker, Topics
from faults.transactions import Transactions
from faults.writers import Client
from service_kit.kafka import KafkaClients
from sync_service.routes.config import Route
from sync_service.routes.loader import default_routes_file, load_routes

LOGS = REPOSITORY / ".stack-faults" / "log"
# Three mongod, of which the third one's clock is 20 s behind, a MySQL primary with a replica, three brokers with
# replication factor 3 and min.insync.replicas=2, two Connect workers.
HIGHLY_AVAILABLE = Topology(mysql=2, mongo=3, kafka=3, connect=2, clock_offsets=((3, -20),))
# The sync's default: a member without a heartbeat for longer loses its partitions.
SESSION_TIMEOUT_MS = 6000

# All writers share one address, so the limits are raised beyond reach. Cheap password hashes and long-lived tokens save
# time: neither is under test.
VARIABLES = {
    "AUTH_REGISTRATIONS_PER_ADDRESS": "1000000000",
    "AUTH_PROFILE_CHANGES_PER_ACCOUNT": "1000000000",
    "AUTH_ACCESS_TOKEN_SECONDS": "3600",
    "AUTH_ARGON2_MEMORY_KIB": "8192",
    "AUTH_ARGON2_ROUNDS": "1",
    "TWEET_READS_PER_MINUTE": "1000000000",
    "TWEET_WRITES_PER_MINUTE": "1000000000",
}


class Gap(enum.Enum):
    """Changes that are missing from the topics, so that only `reconcile` can find them."""

    # A snapshot replaced change events. It has every row, but no earlier deletes.
    DELETES = enum.auto()
    # Change events were deleted before sync-service read them.
    EVENTS = enum.auto()


@dataclass
class System:
    """`gap`: what the topics have lost since the last comparison of the copies."""

    stack: Stack
    routes: Sequence[Route]
    databases: Databases
    topics: Topics
    dead_letters: DeadLetterTracker
    second: SecondMember
    counts: Counts
    expected: ExpectedState
    client: Client
    connect: httpx.AsyncClient
    gap: Gap | None = None

    async def start(self, *names: str) -> None:
        await asyncio.to_thread(self.stack.start, *names)

    async def stop(self, name: str) -> None:
        await asyncio.to_thread(self.stack.stop_one, name)

    async def kill(self, name: str) -> None:
        """SIGKILL. The sync's counters are sampled first: it loses them."""
        if name == "sync":
            await self.counts.sample()
        await asyncio.to_thread(self.stack.kill, name)


@asynccontextmanager
async def system_of(stack: Stack) -> AsyncIterator[System]:
    """Connect to a running stack."""
    routes = load_routes(default_routes_file())
    addresses, expected, second = stack.addresses, ExpectedState(), SecondMember(stack)
    topics = Topics(
        KafkaClients(addresses["KAFKA_BOOTSTRAP_SERVERS"]), [route.topic for route in routes], "sync-service"
    )
    databases = Databases(addresses["MYSQL_ROOT_URL"], addresses["MONGODB_URL"])
    client = Client(addresses["GATEWAY_URL"], expected, Transactions(databases))
    counts = Counts(stack, second)
    counting = asyncio.create_task(counts.sample_periodically())
    try:
        async with httpx.AsyncClient(base_url=addresses["CONNECT_URL"], timeout=30) as connect:
            dead_letters = DeadLetterTracker(topics)
            await dead_letters.skip_existing()
            yield System(stack, routes, databases, topics, dead_letters, second, counts, expected, client, connect)
    finally:
        counting.cancel()
        await second.stop()
        await client.close()
        databases.close()


@contextmanager
def fault_stack(progress: Callable[[str], None], topology: Topology = SINGLE, logs: Path = LOGS) -> Iterator[Stack]:
    """Run a whole stack. Its logs stay in `logs`. `progress` gets the lines of the start only."""
    starting = True

    def report(line: str) -> None:
        if starting:
            progress(line)

    with temporary_stack("tandem-faults-", logs=logs, progress=report, topology=topology) as stack:
        stack.components["sync"].environment.base.update(VARIABLES)
        stack.start()
        starting = False
        yield stack
