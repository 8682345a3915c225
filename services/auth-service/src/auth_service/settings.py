"""auth-service's settings."""

import os

from pydantic import Field, SecretStr

from service_kit.mysql import MysqlAddress
from service_kit.settings import ServiceSettings


class Settings(ServiceSettings):
    port: int = Field(default=8001, ge=1, le=65535)
    gateway_prefix: str = "/api/auth"
    mysql_url: MysqlAddress
    auth_issuer: str = Field(
        default="http://localhost:8080/api/auth", description="`iss` of tokens; the address the public reaches us at."
    )
    auth_audience: str = "tandem"
    auth_access_token_seconds: int = Field(default=900, ge=60, le=3600)
    auth_key_encryption_secret: SecretStr = Field(
        default=SecretStr("local-only-key-encryption-secret"),
        min_length=16,
        description="Encrypts the private signing keys in MySQL.",
    )
    auth_password_workers: int = Field(
        default_factory=lambda: os.cpu_count() or 1, ge=1, description="Threads that hash passwords: one per core."
    )
