"""The configuration of a stack: its state folder, its ports, and its external components."""

import os
import random
import re
import shlex
import socket
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import SettingsConfigDict

from embedded_stack.errors import StackError
from service_kit.kafka_settings import KafkaSecurity, RecordSettings

REPOSITORY = Path(__file__).resolve().parents[4]
_SYNC_SERVICE = REPOSITORY / "services" / "sync-service"
PACKAGED_ROUTES = _SYNC_SERVICE / "routes.yaml"
NO_ROUTES = _SYNC_SERVICE / "no-routes.yaml"

# The services have the same ports as in compose. Those of the infrastructure avoid the usual ports of such servers.
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
    "gateway-internal": 18080,
}
# The further members of a topology (`topology.py`): member 2 of `kafka` has `kafka-2`.
MEMBER_PORTS = {
    "mysql-1": 13307,
    "mysql-2": 13308,
    "mongo-2": 27118,
    "mongo-3": 27120,
    "kafka-2": 19094,
    "kafka-controller-2": 19095,
    "kafka-3": 19096,
    "kafka-controller-3": 19097,
    "connect-2": 18084,
}
_ALL_PORTS = {**PORTS, **MEMBER_PORTS}
# A program that has chosen a port offset holds this port.
RESERVATION = 8000
# The offsets to choose from; no two have a port in common. Linux uses the ports from 32768 on for outgoing connections,
# so that a component's port could be taken before the component starts.
PORT_OFFSETS = range(1000, 32768 - max(_ALL_PORTS.values()), 251)
_STORES = ("mysql", "mongo")
_INFRASTRUCTURE = (*_STORES, "kafka", "connect")
_DEFAULT_STATE = REPOSITORY / ".stack"
_SYNC_ONLY_STATE = REPOSITORY / ".stack-sync-only"


class StackConfiguration(KafkaSecurity, RecordSettings):
    """`TANDEM_PORT_OFFSET`, `TANDEM_STATE_DIR`, `TANDEM_CACHE_DIR`, and the addresses of external components.

    A component whose address is given is not started: `MYSQL_ROOT_URL` (an account that may create schemas and
    users; `MYSQL_URL` is used if that is such an account), `MONGODB_URL`, `KAFKA_BOOTSTRAP_SERVERS`, `CONNECT_URL`.
    The settings of TLS and SASL are for an external Kafka; the embedded one has neither.
    """

    model_config = SettingsConfigDict(frozen=True, populate_by_name=True, extra="ignore")

    kind: Literal["full", "sync-only"] = Field(
        default="full",
        validation_alias="TANDEM_STACK",
        description="`sync-only` (`make run STACK=sync-only`) is the sync between your own MySQL and MongoDB "
        "([your-own-databases.md](your-own-databases.md)).",
    )
    port_offset: int = Field(
        default=0, ge=0, le=30000, validation_alias="TANDEM_PORT_OFFSET", description="Added to every port."
    )
    state_dir: Path = Field(
        default=_DEFAULT_STATE,
        validation_alias="TANDEM_STATE_DIR",
        description="Data, logs, pids and passwords of the stack; by default `.stack-sync-only` for that one.",
    )
    cache_dir: Path = Field(
        default=Path("~/.cache/tandem"),
        validation_alias="TANDEM_CACHE_DIR",
        description="Folder of the downloads, shared by all stacks.",
    )

    maven_repository: str | None = Field(
        default=None,
        validation_alias="TANDEM_MAVEN_REPOSITORY",
        description="A mirror of Maven Central, from which Kafka and Debezium are downloaded.",
    )

    connect_exactly_once: bool = Field(
        default=False,
        validation_alias="CONNECT_EXACTLY_ONCE",
        description="Kafka Connect writes change events in transactions and repeats none after a crash.",
    )

    routes_file: Path | None = Field(
        default=None,
        validation_alias="SYNC_ROUTES_FILE",
        description="Your own `routes.yaml`, instead of `routes.yaml` in the state folder, a copy of the one in "
        "`services/sync-service` that follows it until you edit it.",
    )

    registrar_name: str | None = Field(
        default=None,
        validation_alias="REGISTRAR_NAME",
        description="The registrar's name in Kafka Connect. By default `tandem`, or with `CONNECT_URL` a name that "
        "follows from the state folder: registrars with one name delete each other's connectors.",
    )
    outside_mysql: SecretStr | None = Field(
        default=None,
        validation_alias="MYSQL_ROOT_URL",
        description="Your own MySQL server, which replaces the embedded one; the account may create schemas and users.",
    )
    outside_mysql_account: SecretStr | None = Field(
        default=None, validation_alias="MYSQL_URL", description="Read instead of `MYSQL_ROOT_URL` if that is not set."
    )
    outside_mongodb: SecretStr | None = Field(
        default=None,
        validation_alias="MONGODB_URL",
        description="Your own MongoDB replica set, which replaces the embedded one.",
    )
    outside_kafka: str | None = Field(
        default=None,
        validation_alias="KAFKA_BOOTSTRAP_SERVERS",
        description="Your own Kafka, which replaces the embedded one.",
    )
    operator_token: SecretStr | None = Field(
        default=None,
        validation_alias="SYNC_OPERATOR_TOKEN",
        description="The access token of `sync-only`; a random one by default.",
    )
    outside_connect: str | None = Field(
        default=None,
        validation_alias="CONNECT_URL",
        description="Your own Kafka Connect, which replaces the embedded one.",
    )

    @field_validator("outside_mysql", "outside_mysql_account", "outside_mongodb", "outside_kafka", "outside_connect")
    @classmethod
    def _own_addresses_are_not_outside(
        cls, address: SecretStr | str | None, info: ValidationInfo
    ) -> SecretStr | str | None:
        """Ignore addresses of this stack itself, from its `.stack/env`. An empty variable counts as not set."""
        text = address.get_secret_value() if isinstance(address, SecretStr) else address
        servers = [name for name in _INFRASTRUCTURE if name not in _STORES or info.data.get("kind") == "full"]
        own = [f"127.0.0.1:{PORTS[name] + info.data.get('port_offset', 0)}" for name in servers]
        is_own = text and any(re.search(rf"{re.escape(each)}\b", text) for each in own)
        return None if not text or is_own else address

    @property
    def is_sync_only(self) -> bool:
        """Without auth-service, tweet-service and databases of its own."""
        return self.kind == "sync-only"

    @property
    def name_of_registrar(self) -> str:
        """Other systems may have their connectors in the same Kafka Connect, if it is outside of the stack."""
        if self.registrar_name or not self.outside_connect:
            return self.registrar_name or "tandem"
        return f"tandem-{zlib.crc32(str(self.state.resolve()).encode()):08x}"

    @property
    def live_routes(self) -> Path:
        """The file of the routes, unless they are in a file of the user's own."""
        return self.state / "routes.yaml"

    @property
    def routes(self) -> Path:
        return self.live_routes if self.routes_file is None else self.routes_file.expanduser().resolve()

    @property
    def mysql_root_url(self) -> SecretStr | None:
        return self.outside_mysql or self.outside_mysql_account

    @property
    def connector_variables(self) -> Mapping[str, str]:
        """The addresses of your own sources, for the registrar: `CDC_MYSQL_HOST` and so on."""
        return {name: value for name, value in os.environ.items() if name.startswith("CDC_")}

    @property
    def packaged_routes(self) -> Path:
        """What `live_routes` is a copy of, until it is edited."""
        return NO_ROUTES if self.is_sync_only else PACKAGED_ROUTES

    @property
    def state(self) -> Path:
        is_default = self.state_dir.expanduser().resolve() == _DEFAULT_STATE.resolve()
        return (_SYNC_ONLY_STATE if self.is_sync_only and is_default else self.state_dir.expanduser()).resolve()

    @property
    def cache(self) -> Path:
        return self.cache_dir.expanduser().resolve()

    def command(self, text: str) -> str:
        """A command (`make start NAME=sync`) with the settings of this stack, ready to copy."""
        return command(self.state, self.port_offset, text, is_sync_only=self.is_sync_only)

    def shown(self, name: str) -> str:
        """A path in the state folder for messages, relative if it is below the current folder."""
        path = self.state / name
        return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)

    @property
    def kafka_security(self) -> KafkaSecurity:
        """The security settings of an external Kafka; the embedded one has none."""
        return KafkaSecurity.model_construct() if self.outside_kafka is None else self

    def port(self, name: str) -> int:
        return _ALL_PORTS[name] + self.port_offset

    def data(self, name: str) -> Path:
        """The folder `.stack/data/NAME`. It is created if it is missing, readable only by its owner."""
        folder = self.state / "data" / name
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return folder


def command(state: Path, port_offset: int, text: str, *, is_sync_only: bool = False) -> str:
    """A command (`make down`) with the settings of the stack with this state folder and offset, ready to copy."""
    settings = []
    if state not in (_DEFAULT_STATE.resolve(), _SYNC_ONLY_STATE.resolve()):
        settings.append(f"TANDEM_STATE_DIR={shlex.quote(str(state))}")
    if port_offset:
        settings.append(f"TANDEM_PORT_OFFSET={port_offset}")
    kind = ["STACK=sync-only"] if is_sync_only or state == _SYNC_ONLY_STATE.resolve() else []
    return " ".join([*settings, text, *kind])


def port_offset_file(state: Path) -> Path:
    return state / "run" / "port-offset"


def port_offset_used(state: Path) -> int | None:
    """The offset of the stack that runs with this state folder, None if it is unknown."""
    try:
        return int(port_offset_file(state).read_text())
    except (OSError, ValueError):
        return None


def require_without(path: Path, separators: Mapping[str, str], setting: str, of: str) -> None:
    """Raise `StackError` if the path contains one of these separators (with their names), where `of` would split it."""
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
        if all(port_is_free(port + offset) for port in (RESERVATION, *_ALL_PORTS.values())):
            return offset
    raise StackError(f"None of the {len(PORT_OFFSETS)} port offsets has all its ports free: stop other stacks.")


@contextmanager
def reserved_port_offset() -> Iterator[int]:
    """A free port offset that no other caller gets in the meantime: the port `RESERVATION` of the offset is held."""
    with socket.socket() as reservation:
        while True:
            offset = free_port_offset()
            try:
                reservation.bind(("127.0.0.1", RESERVATION + offset))
            except OSError:
                continue  # another program was faster
            yield offset
            return
