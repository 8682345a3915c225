"""Configuration of tweet-service."""

from pydantic import AnyHttpUrl, Field

from service_kit.mongodb import MongodbAddress
from service_kit.settings import ServiceSettings


class Settings(ServiceSettings):
    """Read from environment variables of the same names."""

    port: int = Field(default=8002, ge=1, le=65535)
    mongodb_url: MongodbAddress = Field(description="`mongodb://host:port/database?replicaSet=…`")
    auth_jwks_url: AnyHttpUrl = Field(description="The key set of auth-service, reached directly.")
    auth_issuer: str = Field(
        default="http://localhost:8080/api/auth",
        description="`iss` of tokens: the address the public reaches auth-service at.",
    )
    auth_audience: str = Field(default="tandem", description="`aud` of tokens.")
    # In each minute, counted in MongoDB, so that replicas share them.
    tweet_writes_per_minute: int = Field(default=3000, ge=1, description="Of one person.")
    tweet_reads_per_minute: int = Field(default=60_000, ge=1, description="From one address.")
    tweet_stream_clients: int = Field(default=2000, ge=1, description="Who listen to this process at a time.")
    tweet_stream_backlog: int = Field(default=5000, ge=4, description="Events by which a listener may lag behind.")
    tweet_stream_heartbeat_seconds: float = Field(default=15.0, gt=0, description="Less than any proxy waits.")
    tweet_stream_seconds: float = Field(default=3600.0, gt=0, description="How long a stream may last.")
