"""Configuration of tweet-service."""

from pydantic import AnyHttpUrl, Field

from service_kit.mongodb import MongodbAddress
from service_kit.settings import ServiceSettings


class Settings(ServiceSettings):
    """Read from environment variables of the same names."""

    port: int = Field(default=8002, ge=1, le=65535)
    mongodb_url: MongodbAddress = Field(description="`mongodb://host:port/database?replicaSet=…`")
    tweet_users_database: str = Field(
        default="auth",
        pattern=r"^[A-Za-z_][A-Za-z0-9_-]{0,62}$",
        description="MongoDB's database of the copy of the users: `target.database` of the sync's route `users`. Until "
        "sync-service has moved the copy there, tweet-service reads the one in `MONGODB_URL`'s database.",
    )
    auth_jwks_url: AnyHttpUrl = Field(description="Internal address of auth-service's key set.")
    auth_issuer: str = Field(
        default="http://localhost:8080/api/auth",
        description="`iss` of tokens: the public address of auth-service.",
    )
    auth_audience: str = Field(default="tandem", description="`aud` of tokens.")
    # Counted in MongoDB, so that replicas share the limits.
    tweet_writes_per_minute: int = Field(default=3000, ge=1, description="Writes per user and minute.")
    tweet_reads_per_minute: int = Field(
        default=60_000, ge=1, description="Reads per address and minute; a search counts as 20."
    )
    tweet_costly_reads: int = Field(
        default=1,
        ge=1,
        description="Searches, trends and large counts that a process runs at the same time; others wait for 2 s. "
        "Clients have their turns in rotation.",
    )
    tweet_stream_clients: int = Field(default=2000, ge=1, description="Most subscribers of `/v1/stream` in a process.")
    tweet_stream_clients_per_address: int = Field(
        default=100,
        ge=1,
        description="Most subscribers of `/v1/stream` from one address in a process. `TRUSTED_PROXIES` report the "
        "address; an IPv6 network of 64 bits counts as one.",
    )
    tweet_stream_clients_per_account: int = Field(
        default=20, ge=1, description="Most subscribers of `/v1/stream` of one account in a process."
    )
    tweet_stream_backlog: int = Field(
        default=5000,
        ge=4,
        description="Events that a process keeps in memory; a subscriber that lags by more is cut off.",
    )
    tweet_stream_heartbeat_seconds: float = Field(
        default=15.0, gt=0, description="Time between heartbeats; less than the timeout of any proxy."
    )
    tweet_stream_seconds: float = Field(default=3600.0, gt=0, description="Longest duration of a stream.")
