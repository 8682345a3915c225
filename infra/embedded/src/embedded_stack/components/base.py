"""What a component is."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar
from urllib.parse import urlsplit

import httpx

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

    @property
    def outside(self) -> str | None:
        """The address at which somebody else runs it, if so."""
        return None

    @property
    def address(self) -> str:
        """For people to read: where it answers."""
        return " ".join(f"{LOOPBACK}:{self.environment.port(port)}" for port in self.ports)


def answers(url: str) -> bool:
    """Does a GET of this address answer 200?"""
    return httpx.get(url, timeout=2).status_code == 200


def host_and_port(url: str, default_port: int) -> tuple[str, int]:
    parts = urlsplit(url)
    return parts.hostname or LOOPBACK, parts.port or default_port
