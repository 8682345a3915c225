"""What a component is."""

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

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class Environment:
    """What components know of the stack they are in. `base` is the environment every process gets."""

    configuration: StackConfiguration
    credentials: Credentials
    addresses: dict[str, str]
    base: dict[str, str]

    def data(self, name: str) -> Path:
        return self.configuration.data(name)

    def port(self, name: str) -> int:
        return self.configuration.port(name)

    @property
    def cache(self) -> Path:
        return self.configuration.cache


class Component(ABC):
    """One process of the stack.

    `is_ready` may raise anything: that means "not yet". `deadline` is how long it may take, `grace` how long it
    has to end after SIGTERM, both in seconds.
    """

    name: ClassVar[str]
    depends_on: ClassVar[tuple[str, ...]] = ()
    ports: ClassVar[tuple[str, ...]] = ()
    deadline: ClassVar[float] = 60
    grace: ClassVar[float] = 15

    def __init__(self, environment: Environment) -> None:
        self.environment = environment

    def check(self) -> None:
        """Refuse what it can't run with, before anything is started. Raises `StackError`."""

    def fetch(self) -> None:
        """Bring what it runs onto this machine."""

    def prepare(self) -> None:
        """Make ready for a start: folders, configuration files."""

    @abstractmethod
    def command(self) -> Command:
        """How to start it."""

    @abstractmethod
    def is_ready(self) -> bool:
        """Does it do its work?"""

    def after_ready(self) -> None:
        """What has to be done once it is up and before anything that depends on it starts. Idempotent."""

    def after_ready_reads(self) -> bytes:
        """The content of the files that `after_ready` reads: it is run again if they change."""
        return b""

    @property
    def outside(self) -> str | None:
        """The address of one outside of the stack, without a password, if it is not started here."""
        return None

    @property
    def address(self) -> str:
        """For people to read: where it answers."""
        return " ".join(f"{LOOPBACK}:{self.environment.port(port)}" for port in self.ports)


class NotReadyError(Exception):
    """Why a component is not ready yet."""


def without_account(address: SecretStr | None) -> str | None:
    """The part of an address after user name and password."""
    return None if address is None else address.get_secret_value().rpartition("@")[2]


def answers(url: str) -> bool:
    """Does a GET of this address answer 200? Raises `NotReadyError` with the reason of a service's `/readyz`."""
    parts = urlsplit(url)
    connection = HTTPConnection(parts.hostname or LOOPBACK, parts.port, timeout=2)
    try:
        connection.request("GET", parts.path or "/")
        response = connection.getresponse()
        content = response.read()
    finally:
        connection.close()
    if response.status != HTTPStatus.OK:
        raise NotReadyError(f"{url} answers {response.status}{_failed_checks(content)}")
    return True


def _failed_checks(content: bytes) -> str:
    try:
        checks = json.loads(content)["checks"].items()
    except (ValueError, KeyError, TypeError, AttributeError):
        return ""
    return "".join(f"; {name}: {state}" for name, state in checks if state != "ok")


@dataclass(frozen=True)
class MySQLAccount:
    """What a `mysql://USER:PASSWORD@HOST:PORT/` says."""

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
