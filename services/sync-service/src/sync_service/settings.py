"""Configuration of sync-service."""

from pathlib import Path

from pydantic import Field

from service_kit.mongodb import MongodbAddress
from service_kit.mysql import MysqlAddress
from service_kit.settings import ServiceSettings
from sync_service.routes.loading import default_routes_file


class Settings(ServiceSettings):
    """Read from environment variables of the same names."""

    port: int = Field(default=8003, ge=1, le=65535)
    gateway_prefix: str = "/api/sync"
    mysql_url: MysqlAddress
    mongodb_url: MongodbAddress
    kafka_bootstrap_servers: str
    sync_routes_file: Path = Field(default_factory=default_routes_file)
    sync_group_id: str = "sync-service"
    sync_session_timeout_ms: int = Field(
        default=6000, ge=3000, description="A member that is silent for so long loses its partitions."
    )
    sync_rows_at_once: int = Field(default=500, ge=1, le=5000, description="Rows in one write.")
    sync_dead_letter_limit: int = Field(
        default=100, ge=1, description="So many dead letters in a row stop a route's consumer."
    )
    sync_watchdog_seconds: float = Field(
        default=60, ge=5, description="With lag and without progress for so long, the process ends."
    )
