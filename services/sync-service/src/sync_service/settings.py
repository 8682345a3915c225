"""Configuration of sync-service."""

from pathlib import Path

from pydantic import AnyHttpUrl, Field

from service_kit.kafka_settings import KafkaSettings
from service_kit.mongodb import MongodbAddress
from service_kit.mysql import MysqlAddress
from service_kit.settings import ServiceSettings
from sync_service.routes.loader import default_routes_file


class Settings(KafkaSettings, ServiceSettings):
    """Read from environment variables of the same names."""

    port: int = Field(default=8003, ge=1, le=65535)
    gateway_prefix: str = "/api/sync"
    mysql_url: MysqlAddress = Field(description="`mysql://user:password@host:port/schema`")
    mongodb_url: MongodbAddress = Field(description="`mongodb://host:port/database?replicaSet=…`")
    auth_jwks_url: AnyHttpUrl = Field(description="The key set of auth-service, reached directly.")
    registrar_url: AnyHttpUrl | None = Field(
        default=None,
        description="The registrar, which reports the state of the connectors; without it that is unknown.",
    )
    auth_issuer: str = Field(
        default="http://localhost:8080/api/auth",
        description="`iss` of tokens: the address the public reaches auth-service at.",
    )
    auth_audience: str = Field(default="tandem", description="`aud` of tokens.")
    sync_routes_file: Path = Field(
        default_factory=default_routes_file, description="What goes where; the built-in `routes.yaml` if not given."
    )
    sync_group_id: str = Field(default="sync-service", description="Kafka's consumer group.")
    sync_session_timeout_ms: int = Field(
        default=6000,
        ge=3000,
        description="A member that is silent for so long loses its partitions; the broker's "
        "`group.min.session.timeout.ms` (6000 by default) and `group.max.session.timeout.ms` bound it.",
    )
    sync_fetch_max_wait_ms: int = Field(
        default=500,
        ge=1,
        le=1000,
        description="How long the broker may keep a fetch waiting for an event; it answers when one comes.",
    )
    sync_rows_at_once: int = Field(default=500, ge=1, le=5000, description="Rows in one write.")
    sync_dead_letters_max_consecutive: int = Field(
        default=100, ge=1, description="So many dead letters of a partition in a row end the process."
    )
    sync_dead_letters_max_ratio: float = Field(
        default=0.5, gt=0, le=1, description="So does a larger share of a partition's latest 1000 events."
    )
    sync_watchdog_seconds: float = Field(
        default=60, ge=5, description="With lag and without progress for so long, the process ends."
    )
    sync_feed_clients: int = Field(default=50, ge=1, description="Most subscribers of `/v1/events` in a process.")
    sync_feed_backlog: int = Field(
        default=2000,
        ge=4,
        description="Events that a process keeps in memory; a subscriber that lags by more is cut off.",
    )
    sync_feed_heartbeat_seconds: float = Field(
        default=15.0, gt=0, description="Time between heartbeats; less than the timeout of any proxy."
    )
