"""The registrar's settings."""

from pathlib import Path

from pydantic import AnyHttpUrl, Field

from service_kit.kafka_settings import KafkaSettings
from service_kit.settings import ServiceSettings
from sync_service.routes.loader import default_routes_file


class Settings(KafkaSettings, ServiceSettings):
    """The variables of the connectors are read from the environment, too: see `connectors.py`."""

    port: int = Field(default=8004, ge=1, le=65535)
    connect_url: AnyHttpUrl = Field(description="Address of Kafka Connect.")
    sync_routes_file: Path = Field(
        default_factory=default_routes_file, description="The routes. By default the built-in `routes.yaml`."
    )
    registrar_name: str = Field(
        default="tandem",
        pattern=r"^[A-Za-z0-9._-]{1,64}$",
        description="Marks the generated connectors in Kafka Connect: a marked connector whose source is no longer in "
        "`routes.yaml` is deleted, and its offsets are kept. Registrars with other routes at the same Kafka Connect "
        "need other names.",
    )
    registrar_poll_seconds: float = Field(default=1.0, gt=0, description="Seconds between two polls of Connect.")
    registrar_heartbeat_limit_seconds: float = Field(
        default=30.0,
        gt=0,
        description="A connector without a heartbeat or an event for this many seconds is restarted.",
    )
    registrar_snapshot_limit_seconds: float = Field(
        default=600.0,
        gt=0,
        description="The same for a connector that takes a snapshot, which begins with locks and counts.",
    )
    connect_exactly_once: bool = Field(
        default=False,
        description="Kafka Connect writes change events in transactions and repeats none after a crash. Its worker "
        "needs the same setting.",
    )
    registrar_replication_factor: int = Field(
        default=1, ge=1, le=32767, description="Replicas of each partition of a topic that is created."
    )
