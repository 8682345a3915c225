"""The base class of components, and what they share."""

import json
from abc import ABC, abstractmethod
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPConnection
from pathlib import Path
from typing import ClassVar, Self
from urllib.parse import unquote, urlsplit

from pydantic import SecretStr

from embedded_stack.configuration import StackConfiguration
from embedded_stack.credentials import Credentials
from embedded_stack.process import Command
from embedded_stack.topology import SINGLE, Topology

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class Environment:
    """What components know of their stack. `base` is the environment of every process."""

    configuration: StackConfiguration
    credentials: Credentials
    addresses: dict[str, str]
    base: dict[str, str]
    topology: Topology = SINGLE

    def data(self, name: str) -> Path:
        return self.configuration.data(name)

    def port(self, name: str) -> int:
        return self.configuration.port(name)

    @property
    def cache(self) -> Path:
        return self.configuration.cache


class Component(ABC):
    """One process of the stack.

    An error that `is_ready` raises means "not ready yet". `deadline` is the maximum time until it is ready, `grace` the
    time to end after SIGTERM, both in seconds.

    A component can be one of the members of a cluster. Member 1 has the plain name, depends on the others, and sets the
    cluster up. Names and ports of the others end with their number: `kafka-2`.
    """

    name: str
    depends_on: tuple[str, ...] = ()
    ports: tuple[str, ...] = ()
    # Of a busy machine; a process that ends is noticed before.
    deadline: ClassVar[float] = 300
    grace: ClassVar[float] = 15

    def __init__(self, environment: Environment, member: int = 1) -> None:
        self.environment = environment
        self.member = member
        self.name = numbered(self.name, member)
        self.ports = tuple(numbered(port, member) for port in self.ports)

    @classmethod
    def cluster(cls, environment: Environment, members: int) -> "list[Component]":
        """All members, each after those that it depends on."""
        first, others = cls(environment), [cls(environment, number) for number in range(2, members + 1)]
        first.depends_on = (*(each.name for each in others), *first.depends_on)
        return [*others, first]

    def check(self) -> None:
        """Check the configuration before anything is started. Raises `StackError`."""

    def fetch(self) -> None:
        """Download its program."""

    def prepare(self) -> None:
        """Write the folders and configuration files for a start."""

    @abstractmethod
    def command(self) -> Command:
        """The command that starts it."""

    @abstractmethod
    def is_ready(self) -> bool:
        """Does it work?"""

    def after_ready(self) -> None:
        """Set it up after its start, before its dependents start. Idempotent."""

    def after_ready_inputs(self) -> bytes:
        """The content of the files that `after_ready` reads. `after_ready` runs again if it changes."""
        return b""

    @property
    def remark(self) -> str:
        """What does not work yet although it is ready, for messages."""
        return ""

    @property
    def outside(self) -> str | None:
        """The address of the external component that replaces this one, without a password, or None."""
        return None

    @property
    def address(self) -> str:
        """Its addresses, for messages."""
        return " ".join(f"{LOOPBACK}:{self.environment.port(port)}" for port in self.ports)


def numbered(name: str, member: int) -> str:
    """The name of a component or port of this member of a cluster."""
    return name if member == 1 else f"{name}-{member}"


class NotReadyError(Exception):
    """Why a component is not ready yet."""


def without_account(address: SecretStr | None) -> str | None:
    """The address without user name and password."""
    return None if address is None else address.get_secret_value().rpartition("@")[2]


def responds_ok(url: str) -> bool:
    """True if a GET of this address answers 200. Raises `NotReadyError` with the failing checks of a `/readyz`."""
    status, content = get(url)
    if status != HTTPStatus.OK:
        failed = "".join(f"; {name}: {state}" for name, state in failed_checks(content).items())
        raise NotReadyError(f"{url} answers {status}{failed}")
    return True


def get(url: str) -> tuple[int, bytes]:
    """The status and the body of a GET. Raises `OSError` and `HTTPException`."""
    parts = urlsplit(url)
    connection = HTTPConnection(parts.hostname or LOOPBACK, parts.port, timeout=10)
    try:
        connection.request("GET", parts.path or "/")
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def failed_checks(content: bytes) -> dict[str, str]:
    """The failing checks in the answer of a `/readyz`."""
    try:
        checks = json.loads(content)["checks"].items()
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}
    return {name: state for name, state in checks if state != "ok"}


@dataclass(frozen=True)
class MySQLAccount:
    """The parts of `mysql://USER:PASSWORD@HOST:PORT/`."""

    host: str
    port: int
    user: str
    password: str

    @classmethod
    def parse(cls, url: str) -> Self:
        parts = urlsplit(url)
        return cls(
            parts.hostname or LOOPBACK, parts.port or 3306, unquote(parts.username or ""), unquote(parts.password or "")
        )
