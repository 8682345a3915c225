"""Where a stack keeps its state, which ports it takes, and which components run outside of it."""

import random
import re
import shlex
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from pydantic import Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import SettingsConfigDict

from embedded_stack.errors import StackError
from service_kit.kafka_settings import KafkaSecurity

REPOSITORY = Path(__file__).resolve().parents[4]

# DESIGN: the services' ports are the same as in compose, the infrastructure's are out of everyone's way.
PORTS = {
    "gateway": 8080,
    "auth": 8001,
    "tweet": 8002,
    "sync": 8003,
    "registrar": 8004,
    "mysql": 13306,
    "mongo": 27117,
    "kafka": 19092,
    "kafka-controller": 19093,
    "connect": 18083,
    "mail-http": 18025,
    "mail-smtp": 11025,
}
# Held by the program that has chosen a port offset.
RESERVATION = 8000
# To choose from: no two have a port in common. From 32768 on Linux gives ports to outgoing connections, and so perhaps
# that of a component which is started later.
PORT_OFFSETS = range(1000, 32768 - max(PORTS.values()), 251)
_INFRASTRUCTURE = ("mysql", "mongo", "kafka", "connect")
_DEFAULT_STATE = REPOSITORY / ".stack"


class StackConfiguration(KafkaSecurity):
    """`TANDEM_PORT_OFFSET`, `TANDEM_STATE_DIR` and `TANDEM_CACHE_DIR`; and addresses of outside components.

    A component whose address is given is not started: `MYSQL_ROOT_URL` (an account that may create schemas and
    users; `MYSQL_URL` will do if that is one), `MONGODB_URL`, `KAFKA_BOOTSTRAP_SERVERS`, `CONNECT_URL`.
    TLS and SASL are those of an outside Kafka; the embedded one has neither.
    """

    model_config = SettingsConfigDict(frozen=True, populate_by_name=True, extra="ignore")

    port_offset: int = Field(
        default=0, ge=0, le=30000, validation_alias="TANDEM_PORT_OFFSET", description="Added to every port."
    )
    state_dir: Path = Field(
        default=_DEFAULT_STATE,
        validation_alias="TANDEM_STATE_DIR",
        description="Data, logs, pids and passwords of the stack.",
    )
    cache_dir: Path = Field(
        default=Path("~/.cache/tandem"), validation_alias="TANDEM_CACHE_DIR", description="What was downloaded."
    )

    maven_repository: str | None = Field(
        default=None,
        validation_alias="TANDEM_MAVEN_REPOSITORY",
        description="A mirror of Maven Central, from which Kafka and Debezium are downloaded.",
    )

    outside_mysql: SecretStr | None = Field(
        default=None,
        validation_alias="MYSQL_ROOT_URL",
        description="A MySQL server of yours, by an account that may create schemas and users: none is started then.",
    )
    outside_mysql_account: SecretStr | None = Field(
        default=None, validation_alias="MYSQL_URL", description="The same, if that is such an account."
    )
    outside_mongodb: SecretStr | None = Field(
        default=None, validation_alias="MONGODB_URL", description="A replica set of yours: none is started then."
    )
    outside_kafka: str | None = Field(
        default=None, validation_alias="KAFKA_BOOTSTRAP_SERVERS", description="A Kafka of yours, likewise."
    )
    outside_connect: str | None = Field(
        default=None, validation_alias="CONNECT_URL", description="A Kafka Connect of yours, likewise."
    )

    @field_validator("outside_mysql", "outside_mysql_account", "outside_mongodb", "outside_kafka", "outside_connect")
    @classmethod
    def _own_addresses_are_not_outside(
        cls, address: SecretStr | str | None, info: ValidationInfo
    ) -> SecretStr | str | None:
        """The environment may have the stack's own `.stack/env`. An empty variable counts as not set."""
        text = address.get_secret_value() if isinstance(address, SecretStr) else address
        own = [f"127.0.0.1:{PORTS[name] + info.data.get('port_offset', 0)}" for name in _INFRASTRUCTURE]
        is_own = text and any(re.search(rf"{re.escape(each)}\b", text) for each in own)
        return None if not text or is_own else address

    @property
    def mysql_root_url(self) -> SecretStr | None:
        return self.outside_mysql or self.outside_mysql_account

    @property
    def state(self) -> Path:
        return self.state_dir.expanduser().resolve()

    @property
    def cache(self) -> Path:
        return self.cache_dir.expanduser().resolve()

    def command(self, text: str) -> str:
        """A command (`make start NAME=sync`) as it has to be typed for this stack: with its settings."""
        return command(self.state, self.port_offset, text)

    def shown(self, name: str) -> str:
        """The path of something in the state folder, for messages; relative where that is shorter."""
        path = self.state / name
        return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)

    @property
    def kafka_security(self) -> KafkaSecurity:
        """That of an outside Kafka; the embedded one has none."""
        return KafkaSecurity.model_construct() if self.outside_kafka is None else self

    def port(self, name: str) -> int:
        return PORTS[name] + self.port_offset

    def data(self, name: str) -> Path:
        """The folder `.stack/data/NAME`, created if it is missing, readable by its owner alone."""
        folder = self.state / "data" / name
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return folder


def command(state: Path, port_offset: int, text: str) -> str:
    """A command (`make down`) as it has to be typed for the stack with this state folder and these ports."""
    settings = []
    if state != _DEFAULT_STATE.resolve():
        settings.append(f"TANDEM_STATE_DIR={shlex.quote(str(state))}")
    if port_offset:
        settings.append(f"TANDEM_PORT_OFFSET={port_offset}")
    return " ".join([*settings, text])


def port_offset_file(state: Path) -> Path:
    return state / "run" / "port-offset"


def port_offset_used(state: Path) -> int:
    """Of the stack that runs with this state folder; 0 if that is not known."""
    try:
        return int(port_offset_file(state).read_text())
    except (OSError, ValueError):
        return 0


def require_without(path: Path, separators: Mapping[str, str], setting: str, of: str) -> None:
    """Raise `StackError` if the path has a separator, given with its name, at which `of` would split it."""
    for separator, name in separators.items():
        if separator in str(path):
            raise StackError(
                f"{path} has a {name}, which separates folders in {of}: set {setting} to a folder without one."
            )


def port_is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_port_offset() -> int:
    """An offset of `PORT_OFFSETS` at which every port of a stack is free. Raises `StackError`."""
    for offset in random.sample(PORT_OFFSETS, len(PORT_OFFSETS)):
        if all(port_is_free(port + offset) for port in (RESERVATION, *PORTS.values())):
            return offset
    raise StackError(f"There are {len(PORT_OFFSETS)} port offsets to choose from, and at none all ports are free.")


@contextmanager
def reserved_port_offset() -> Iterator[int]:
    """A free port offset that no other caller gets meanwhile: a port that no component has is held."""
    with socket.socket() as reservation:
        while True:
            offset = free_port_offset()
            try:
                reservation.bind(("127.0.0.1", RESERVATION + offset))
            except OSError:
                continue  # another program was faster
            yield offset
            return
