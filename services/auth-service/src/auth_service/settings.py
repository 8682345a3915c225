"""auth-service's settings."""

import os

from pydantic import Field, SecretStr

from auth_service.mail.settings import MailSettings
from service_kit.mysql import MysqlAddress


class Settings(MailSettings):
    port: int = Field(default=8001, ge=1, le=65535)
    gateway_prefix: str = "/api/auth"
    mysql_url: MysqlAddress = Field(description="`mysql://user:password@host:port/schema`")
    auth_issuer: str = Field(
        default="http://localhost:8080/api/auth",
        description="`iss` of tokens: the address the public reaches auth-service at.",
    )
    auth_audience: str = Field(default="tandem", description="`aud` of tokens.")
    auth_access_token_seconds: int = Field(default=900, ge=60, le=3600, description="How long an access token lasts.")
    auth_key_encryption_secret: SecretStr = Field(
        default=SecretStr("local-only-key-encryption-secret"),
        min_length=16,
        description="Encrypts the private signing keys in MySQL.",
    )
    auth_key_rotation_days: int = Field(default=30, ge=1, le=365, description="A key signs for so long.")
    auth_password_workers: int = Field(
        default_factory=lambda: os.cpu_count() or 1, ge=1, description="Threads that hash passwords: one per core."
    )
    auth_argon2_memory_kib: int = Field(default=19456, ge=8192, le=2**21, description="argon2id's m, in KiB.")
    auth_argon2_rounds: int = Field(default=2, ge=1, le=100, description="argon2id's t.")
    auth_argon2_parallelism: int = Field(default=1, ge=1, le=16, description="argon2id's p.")
    auth_require_email_verification: bool = Field(
        default=False, description="Only who has confirmed an address can log in; registering tells nothing."
    )
    auth_audit_days: int = Field(default=365, ge=1, description="Audit events are kept for so long.")
    # Attempts that are free in 15 minutes; each further one waits twice as long as the one before.
    auth_login_attempts_per_account: int = Field(default=10, ge=1, description="Free in 15 minutes.")
    auth_login_attempts_per_address: int = Field(default=100, ge=1, description="Free in 15 minutes.")
    auth_login_failures_overall: int = Field(default=1000, ge=1, description="Free in 15 minutes.")
    auth_registrations_per_address: int = Field(default=300, ge=1, description="Free in 15 minutes.")
    auth_mails_per_account: int = Field(default=5, ge=1, description="That somebody may ask for; free in 15 minutes.")
    auth_mails_per_address: int = Field(default=50, ge=1, description="The same.")
