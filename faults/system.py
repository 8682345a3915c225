"""What faults are injected into: the stack, and the ways to reach into it."""

import asyncio
import enum
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

import httpx

from embedded_stack import Stack, temporary_stack
from embedded_stack.configuration import REPOSITORY
from faults.databases import Databases
from faults.journal import Journal
from faults.members import Counts, SecondMember
from faults.topics import DeadLetterWriter, Topics
from faults.writers import Client
from sync_service.routes.config import Route
from sync_service.routes.loader import default_routes_file, load_routes

LOGS = REPOSITORY / ".stack-faults" / "log"
# The sync's default; a member that is silent for longer loses its partitions.
SESSION_TIMEOUT_MS = 6000

# Limits are counted as ever, but never reached: one address and a few people are all there is. Passwords are hashed
# with less work and tokens last for the whole run, because neither is what is tried here.
VARIABLES = {
    "AUTH_REGISTRATIONS_PER_ADDRESS": "1000000000",
    "AUTH_ACCESS_TOKEN_SECONDS": "3600",
    "AUTH_ARGON2_MEMORY_KIB": "8192",
    "AUTH_ARGON2_ROUNDS": "1",
    "TWEET_READS_PER_MINUTE": "1000000000",
    "TWEET_WRITES_PER_MINUTE": "1000000000",
}


class Gap(enum.Enum):
    """What the sync can't know from the topics, so that only `reconcile` finds it."""

    # A snapshot has replaced change events. It has every row, and nothing of those that were deleted before it.
    DELETES = enum.auto()
    # Change events were deleted before the sync read them.
    EVENTS = enum.auto()


@dataclass
class System:
    """`gap`: what has been lost from the topics since the copies were last compared."""

    stack: Stack
    routes: Sequence[Route]
    databases: Databases
    topics: Topics
    letters: DeadLetterWriter
    second: SecondMember
    counts: Counts
    journal: Journal
    client: Client
    connect: httpx.AsyncClient
    gap: Gap | None = None

    async def start(self, *names: str) -> None:
        await asyncio.to_thread(self.stack.start, *names)

    async def stop(self, name: str) -> None:
        await asyncio.to_thread(self.stack.stop_one, name)

    async def kill(self, name: str) -> None:
        """What the sync has counted is looked at first: it dies with it."""
        if name == "sync":
            await self.counts.look()
        await asyncio.to_thread(self.stack.kill, name)


@asynccontextmanager
async def system_of(stack: Stack) -> AsyncIterator[System]:
    """Ways into a stack that runs."""
    routes = load_routes(default_routes_file())
    addresses, journal, second = stack.addresses, Journal(), SecondMember(stack)
    topics = Topics(addresses["KAFKA_BOOTSTRAP_SERVERS"], [route.topic for route in routes], "sync-service")
    databases = Databases(addresses["MYSQL_ROOT_URL"], addresses["MONGODB_URL"])
    client, counts = Client(addresses["GATEWAY_URL"], journal), Counts(stack, second)
    counting = asyncio.create_task(counts.look_regularly())
    try:
        async with httpx.AsyncClient(base_url=addresses["CONNECT_URL"], timeout=30) as connect:
            letters = DeadLetterWriter(topics)
            await letters.ignore_earlier()
            yield System(stack, routes, databases, topics, letters, second, counts, journal, client, connect)
    finally:
        counting.cancel()
        await second.stop()
        await client.close()
        databases.close()


@contextmanager
def whole_stack(progress: Callable[[str], None]) -> Iterator[Stack]:
    """All of it, running. Its logs are kept in `.stack-faults/log` when it ends."""
    starting = True

    def tell(line: str) -> None:
        if starting:
            progress(line)

    with temporary_stack("tandem-faults-", logs=LOGS, progress=tell) as stack:
        stack.components["sync"].environment.base.update(VARIABLES)
        stack.start()
        starting = False
        yield stack
