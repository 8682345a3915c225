"""The sync-service processes: the stack's own, a second group member, and the event counters of both."""

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import ClassVar

import httpx

from benchmarks.server import free_port
from embedded_stack import Stack, StackError
from embedded_stack.components.base import LOOPBACK
from embedded_stack.process import Command, ComponentProcess

COUNTED = ("applied", "skipped", "superseded", "ignored", "dead_lettered")
SAMPLE_SECONDS = 1.0
_POLL_SECONDS = 0.1


class SecondMember:
    """Another sync-service of the same consumer group, on its own port."""

    deadline: ClassVar[float] = 60

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self.process = ComponentProcess("sync-2", stack.configuration.state)
        self._port = free_port()
        self.url = f"http://{LOOPBACK}:{self._port}"

    async def start(self) -> None:
        """Start, and wait until it responds. It gets its partitions later."""
        command = self._stack.components["sync"].command()
        await asyncio.to_thread(
            self.process.start, Command(command.argv, {**command.environment, "PORT": str(self._port)})
        )
        deadline = time.monotonic() + self.deadline
        async with httpx.AsyncClient(timeout=2) as client:
            while not await _responds(client, f"{self.url}/healthz"):
                if self.process.running() is None or time.monotonic() > deadline:
                    raise StackError(f"a second sync-service does not start; see {self.process.log_file}")
                await asyncio.sleep(_POLL_SECONDS)

    async def stop(self) -> None:
        await asyncio.to_thread(self.process.stop, 15)


@dataclass
class Counts:
    """The sum of all processes' counters. A killed process loses its counts since the last sample."""

    stack: Stack
    second: SecondMember
    _by_process: dict[int, Counter[str]] = field(default_factory=dict)

    async def sample_periodically(self) -> None:
        while True:
            await self.sample()
            await asyncio.sleep(SAMPLE_SECONDS)

    async def sample(self) -> None:
        members = {
            self.stack.addresses["SYNC_URL"]: self.stack.processes["sync"],
            self.second.url: self.second.process,
        }
        async with httpx.AsyncClient(timeout=1) as client:
            for url, process in members.items():
                running = process.running()
                if running is None:
                    continue
                try:
                    routes = (await client.get(f"{url}/v1/status")).json()["routes"]
                except (httpx.HTTPError, ValueError, KeyError):
                    continue
                self._by_process[running.pid] = Counter(
                    {name: sum(route.get(name, 0) for route in routes) for name in COUNTED}
                )

    async def lag(self, route: str) -> int:
        """Return the lag of a route in the stack's own member; 0 while it doesn't respond."""
        try:
            async with httpx.AsyncClient(timeout=1) as client:
                routes = (await client.get(f"{self.stack.addresses['SYNC_URL']}/v1/status")).json()["routes"]
        except (httpx.HTTPError, ValueError, KeyError):
            return 0
        return sum(each["lag"] or 0 for each in routes if each["name"] == route)

    @property
    def total(self) -> Counter[str]:
        return sum(self._by_process.values(), Counter())


async def _responds(client: httpx.AsyncClient, url: str) -> bool:
    try:
        return (await client.get(url)).status_code == 200
    except httpx.HTTPError:
        return False
