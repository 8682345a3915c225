"""Configuration of tweet-service."""

from pydantic import AnyHttpUrl, Field, SecretStr, field_validator
from pymongo.errors import PyMongoError
from pymongo.uri_parser import parse_uri

from service_kit.settings import ServiceSettings


class Settings(ServiceSettings):
    """Read from environment variables of the same names."""

    port: int = Field(default=8002, ge=1, le=65535)
    mongodb_url: SecretStr = Field(description="With the name of the database: mongodb://host:port/tweets?…")
    auth_jwks_url: AnyHttpUrl = Field(description="The key set of auth-service, reached directly.")
    auth_issuer: str = "http://localhost:8080/api/auth"
    auth_audience: str = "tandem"

    @field_validator("mongodb_url")
    @classmethod
    def _names_a_database(cls, url: SecretStr) -> SecretStr:
        try:
            database = parse_uri(url.get_secret_value())["database"]
        except PyMongoError as error:
            raise ValueError(f"not a MongoDB address: {error}") from error
        if not database:
            raise ValueError("names no database; write mongodb://host:port/DATABASE")
        return url
