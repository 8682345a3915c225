"""A server outside the stack: a baseline or a peer."""

import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

from benchmarks.measurement import MeasurementError
from embedded_stack.components.base import LOOPBACK
from embedded_stack.configuration import REPOSITORY
from embedded_stack.process import Command, ComponentProcess

_START_SECONDS = 30
_GRACE_SECONDS = 10
_POLL_SECONDS = 0.1


@dataclass(frozen=True)
class Server:
    """`process` is its parent process."""

    url: str
    process: psutil.Process


@contextmanager
def serving(
    name: str, state: Path, command: Callable[[int], Sequence[str]], variables: Mapping[str, str], probe: str
) -> Iterator[Server]:
    """Run `command(free port)`. The server is ready when `GET probe` returns 200.

    Its log is in the stack's folder of logs. Raises `MeasurementError`.
    """
    port = free_port()
    url = f"http://{LOOPBACK}:{port}"
    process = ComponentProcess(name, state)
    try:
        process.start(Command(command(port), variables, REPOSITORY))
        deadline = time.monotonic() + _START_SECONDS
        while not _responds(f"{url}{probe}"):
            if process.running() is None or time.monotonic() > deadline:
                raise MeasurementError(f"{name} did not start:\n{process.log_tail()}")
            time.sleep(_POLL_SECONDS)
        running = process.running()
        if running is None:
            raise MeasurementError(f"{name} has exited:\n{process.log_tail()}")
        yield Server(url, running)
    finally:
        process.stop(_GRACE_SECONDS)


def _responds(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2).status_code == 200
    except httpx.HTTPError:
        return False


def free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port
