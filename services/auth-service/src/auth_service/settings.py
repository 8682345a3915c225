"""auth-service's settings."""

import os
from typing import Any, Self

from pydantic import Field, SecretStr, model_validator

from auth_service.mail.settings import MailSettings
from service_kit.mysql import MysqlAddress

_ARGON2_MEMORY_KIB = 19456
# For all hashing threads, of the 512 MiB of the service's container.
_HASHING_MEMORY_KIB = 256 * 1024


def _password_workers(settings: dict[str, Any]) -> int:
    """A thread per core that the process may use, as far as the memory of their hashes fits into the container.

    An invalid setting, which has its own error, is missing in `settings`.
    """
    memory_kib: int = settings.get("auth_argon2_memory_kib", _ARGON2_MEMORY_KIB)
    return max(1, min(len(os.sched_getaffinity(0)), _HASHING_MEMORY_KIB // memory_kib))


class Settings(MailSettings):
    port: int = Field(default=8001, ge=1, le=65535)
    gateway_prefix: str = "/api/auth"
    mysql_url: MysqlAddress = Field(description="`mysql://user:password@host:port/schema`")
    auth_issuer: str = Field(
        default="http://localhost:8080/api/auth",
        description="`iss` of access tokens: the public address of auth-service.",
    )
    auth_audience: str = Field(default="tandem", description="`aud` of access tokens.")
    auth_access_token_seconds: int = Field(default=900, ge=60, le=3600, description="Lifetime of an access token.")
    auth_session_seconds: int = Field(
        default=12 * 3600,
        ge=60,
        le=366 * 86400,
        description="Lifetime of a session and its refresh tokens. At least `AUTH_ACCESS_TOKEN_SECONDS`.",
    )
    auth_remembered_session_seconds: int = Field(
        default=30 * 86400,
        ge=60,
        le=366 * 86400,
        description="The same for a login with `remember_me`. At least `AUTH_SESSION_SECONDS`.",
    )
    auth_refresh_grace_seconds: int = Field(
        default=10,
        ge=0,
        le=60,
        description="A client that lost the response of a refresh may repeat the request for this long.",
    )
    auth_key_encryption_secret: SecretStr = Field(
        default=SecretStr("local-only-key-encryption-secret"),
        min_length=16,
        description="Encrypts the private signing keys, and tokens of mails that are not sent yet, in MySQL.",
    )
    auth_key_rotation_days: int = Field(default=30, ge=1, le=365, description="Period for which a signing key signs.")
    auth_argon2_memory_kib: int = Field(
        default=_ARGON2_MEMORY_KIB, ge=8192, le=2**21, description="argon2id's m, in KiB."
    )
    auth_argon2_rounds: int = Field(default=2, ge=1, le=100, description="argon2id's t.")
    auth_argon2_parallelism: int = Field(default=1, ge=1, le=16, description="argon2id's p.")
    auth_password_workers: int = Field(
        default_factory=_password_workers,
        ge=1,
        description="Threads that hash passwords. Each takes `AUTH_ARGON2_MEMORY_KIB`. By default one per core that "
        "the process may use, but no more than 256 MiB suffice for: 13 with the default memory.",
    )
    auth_require_email_verification: bool = Field(
        default=False,
        description="A login needs a confirmed address, and a registration does not reveal known addresses.",
    )
    auth_username_hold_days: int = Field(
        default=30,
        ge=0,
        le=3650,
        description="A username that a rename or a deletion gave up is held for this long: only its former owner can "
        "take it back.",
    )
    auth_audit_days: int = Field(default=365, ge=1, description="Retention of audit events.")
    # Free attempts within 15 minutes. After that the delay doubles with each attempt.
    auth_login_attempts_per_account: int = Field(
        default=10, ge=1, description="Login attempts per account in 15 minutes without a delay."
    )
    auth_login_attempts_per_address: int = Field(
        default=100, ge=1, description="Login attempts per IP address in 15 minutes without a delay."
    )
    auth_login_failures_overall: int = Field(
        default=1000,
        ge=1,
        description="Failed logins of all clients in 15 minutes. After that, clients with recent failures are delayed.",
    )
    auth_registrations_per_address: int = Field(
        default=300, ge=1, description="Registrations per IP address in 15 minutes without a delay."
    )
    auth_mails_per_account: int = Field(
        default=5,
        ge=1,
        description="Requested mails per account, and per mailbox, in 15 minutes without a delay.",
    )
    auth_exports_per_account: int = Field(
        default=5, ge=1, description="Exports of all data of an account in 15 minutes without a delay."
    )
    auth_mails_per_address: int = Field(
        default=50, ge=1, description="Requested mails per IP address in 15 minutes without a delay."
    )
    auth_profile_changes_per_account: int = Field(
        default=20,
        ge=1,
        description="Changes of the name or username of an account in 15 minutes without a delay; as many by admins.",
    )
    auth_logins_per_account: int = Field(
        default=300, ge=1, description="Successful logins of an account in 15 minutes. A further one gets a 429."
    )
    auth_refreshes_per_session: int = Field(
        default=300,
        ge=1,
        description="Refreshes of a session in a window of an access token's lifetime, which the first one opens; up "
        "to twice as many around its end. A further one gets a 429.",
    )
    auth_sessions_per_account: int = Field(
        default=100,
        ge=1,
        le=10_000,
        description="Open sessions of an account. A further login ends the least recently used one.",
    )
    auth_changes_per_account: int = Field(
        default=10, ge=1, description="Changes of the email address, and of the password, per account in an hour."
    )

    @model_validator(mode="after")
    def _check_lifetimes(self) -> Self:
        if self.auth_session_seconds < self.auth_access_token_seconds:
            raise ValueError("AUTH_SESSION_SECONDS is shorter than AUTH_ACCESS_TOKEN_SECONDS; raise it")
        if self.auth_remembered_session_seconds < self.auth_session_seconds:
            raise ValueError("AUTH_REMEMBERED_SESSION_SECONDS is shorter than AUTH_SESSION_SECONDS; raise it")
        return self
