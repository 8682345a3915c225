"""Configuration of sync-service."""

from pathlib import Path
from typing import Self

from pydantic import AnyHttpUrl, Field, model_validator

from service_kit.kafka_settings import KafkaSettings
from service_kit.mongodb import MongodbAddress
from service_kit.mysql import MysqlAddress
from service_kit.settings import ServiceSettings
from sync_service.operator_token import OperatorToken
from sync_service.routes.loader import default_routes_file
from sync_service.routes.protection import HashSecret


class Settings(KafkaSettings, ServiceSettings):
    """Each setting is read from the environment variable of the same name."""

    port: int = Field(default=8003, ge=1, le=65535)
    gateway_prefix: str = "/api/sync"
    mysql_url: MysqlAddress = Field(description="`mysql://user:password@host:port/schema`")
    mongodb_url: MongodbAddress = Field(description="`mongodb://host:port/database?replicaSet=…`")
    auth_jwks_url: AnyHttpUrl | None = Field(
        default=None,
        description="The URL of auth-service's key set, without the gateway. It or `SYNC_OPERATOR_TOKEN` is required.",
    )
    sync_operator_token: OperatorToken = Field(
        default=None,
        description="The only access token, with the scopes `sync:read` and `sync:write`, of a sync-service without "
        "auth-service (docs/your-own-databases.md). At least 32 characters.",
    )
    registrar_url: AnyHttpUrl | None = Field(
        default=None,
        description="The URL of the registrar, which reports the state of the connectors; without it, it is unknown.",
    )
    auth_issuer: str = Field(
        default="http://localhost:8080/api/auth",
        description="`iss` of tokens: auth-service's public address.",
    )
    auth_audience: str = Field(default="tandem", description="`aud` of tokens.")
    sync_routes_file: Path = Field(
        default_factory=default_routes_file, description="The routes. By default the built-in `routes.yaml`."
    )
    sync_hash_secret: HashSecret = Field(
        default=None,
        description="The secret of the hashes that routes with `hash` copy. Another one makes other hashes of all "
        "later changes. At least 16 characters.",
    )
    sync_group_id: str = Field(default="sync-service", description="The consumer group in Kafka.")
    sync_session_timeout_ms: int = Field(
        default=6000,
        ge=3000,
        description="After this time without a heartbeat a process loses its partitions. It must be between the "
        "broker's `group.min.session.timeout.ms` (6000 by default) and `group.max.session.timeout.ms`.",
    )
    sync_fetch_max_wait_ms: int = Field(
        default=500,
        ge=1,
        le=1000,
        description="The longest time that the broker delays a fetch without events. A new event ends the delay.",
    )
    sync_rows_at_once: int = Field(default=500, ge=1, le=5000, description="The most rows in one write.")
    sync_dead_letters_max_consecutive: int = Field(
        default=100, ge=1, description="Maximum consecutive dead letters per partition before the route stops."
    )
    sync_dead_letters_max_ratio: float = Field(
        default=0.5,
        gt=0,
        le=1,
        description="Maximum share of dead letters in a partition's latest 1000 events before the route stops.",
    )
    sync_watchdog_seconds: float = Field(
        default=60, ge=5, description="The process exits after this time with lag and without progress."
    )
    sync_move_quiet_seconds: float = Field(
        default=900.0,
        ge=2,
        description="A copy in MongoDB whose route names another database is dropped in its old place when it was not "
        "read there for this time. It must be longer than any reader of an earlier release is without a request.",
    )
    sync_proof_share: float = Field(
        default=0.02,
        ge=0,
        le=0.5,
        description="The share of a core that the comparison of the copies with their sources, range after range, may "
        "use in one process of all, and in each database. 0: never.",
    )
    sync_proof_repair: bool = Field(
        default=False, description="Repair rows that differ in such a comparison, if they are few (docs/operations.md)."
    )
    sync_feed_clients: int = Field(default=50, ge=1, description="Most subscribers of `/v1/events` in a process.")
    sync_feed_clients_per_address: int = Field(
        default=20,
        ge=1,
        description="Most subscribers of `/v1/events` from one address in a process. `TRUSTED_PROXIES` report the "
        "address; an IPv6 network of 64 bits counts as one.",
    )
    sync_feed_clients_per_account: int = Field(
        default=10, ge=1, description="Most subscribers of `/v1/events` of one account in a process."
    )
    sync_feed_backlog: int = Field(
        default=2000,
        ge=4,
        description="Events that a process keeps in memory; a subscriber that lags by more is cut off.",
    )
    sync_feed_heartbeat_seconds: float = Field(
        default=15.0, gt=0, description="Time between heartbeats; less than the timeout of any proxy."
    )

    @model_validator(mode="after")
    def _one_way_in(self) -> Self:
        if self.auth_jwks_url is None and self.sync_operator_token is None:
            raise ValueError("set AUTH_JWKS_URL, or SYNC_OPERATOR_TOKEN if there is no auth-service")
        if self.auth_jwks_url is not None and self.sync_operator_token is not None:
            raise ValueError("AUTH_JWKS_URL and SYNC_OPERATOR_TOKEN are both set; set one of them")
        return self
