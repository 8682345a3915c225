"""A service as processes of their own, on one database, as they run behind a load balancer."""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

from embedded_stack import Stack
from support.commands import ServiceCommand, start_command
from support.polling import eventually
from support.ports import free_port


class Replica:
    """One process. `client` speaks to it, `variables` are its whole environment, `log` is where its output goes."""

    def __init__(self, service: str, variables: dict[str, str], logs: Path) -> None:
        port = free_port()
        self._service = service
        self.variables = {**variables, "PORT": str(port)}
        self.client = httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30)
        self.log = logs / f"{service}-{port}.log"
        self._process: ServiceCommand | None = None

    async def start(self) -> None:
        """Returns when it is ready."""
        await self.begin()
        await eventually(self._is_ready)

    async def begin(self) -> None:
        with self.log.open("ab") as log:
            self._process = await start_command(self._service, "run", variables=self.variables, output=log, errors=log)

    async def problem(self, check: str) -> str:
        """What `/readyz` says of a check; empty until it answers."""
        assert self._process is not None
        assert self._process.returncode is None, self.log.read_text()
        with contextlib.suppress(httpx.TransportError):
            return str((await self.client.get("/readyz")).json()["checks"].get(check, ""))
        return ""

    def is_running(self) -> bool:
        return self._process is not None and self._process.returncode is None

    async def end(self, how: signal.Signals) -> None:
        """Send a signal, and see the process end."""
        if self._process is not None and self.is_running():
            self._process.send_signal(how)
            await asyncio.wait_for(self._process.wait(), 120)

    def hang_up(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGHUP)

    def pause(self) -> None:
        """As a machine that hangs: it is there, and does nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    async def _is_ready(self) -> bool:
        assert self._process is not None
        assert self._process.returncode is None, self.log.read_text()
        with contextlib.suppress(httpx.TransportError):
            return (await self.client.get("/readyz")).status_code == 200
        return False


@asynccontextmanager
async def running_processes(service: str, count: int, stack: Stack, **variables: str) -> AsyncIterator[list[Replica]]:
    """`count` replicas of a service, started together. Their logs are beside those of the stack's components."""
    logs = stack.configuration.state / "log"
    logs.mkdir(parents=True, exist_ok=True)
    replicas = [Replica(service, {"PATH": os.environ["PATH"], **variables}, logs) for _ in range(count)]
    try:
        await asyncio.gather(*(replica.start() for replica in replicas))
        yield replicas
    finally:
        await asyncio.gather(*(replica.end(signal.SIGTERM) for replica in replicas))
        await asyncio.gather(*(replica.client.aclose() for replica in replicas))


@asynccontextmanager
async def running_replicas(count: int, stack: Stack, mysql_url: str, **variables: str) -> AsyncIterator[list[Replica]]:
    """So many of auth-service on one schema."""
    stack.start("mail")
    own = {"MYSQL_URL": mysql_url, "AUTH_SMTP_URL": stack.addresses["SMTP_URL"]}
    async with running_processes("auth-service", count, stack, **{**own, **variables}) as replicas:
        yield replicas
