"""The table of one-time tokens."""

from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import BINARY, ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from auth_service.database import Table


class Purpose(StrEnum):
    RESET_PASSWORD = "reset-password"  # noqa: S105 - a purpose, not a password
    CONFIRM_EMAIL = "confirm-email"
    UNDO_EMAIL = "undo-email"


# ASVS 5.0 §6.5.5 limits a token that gives access to an account to ten minutes. A confirmation and an undo give no
# access.
LIFETIMES = {
    Purpose.RESET_PASSWORD: timedelta(minutes=10),
    Purpose.CONFIRM_EMAIL: timedelta(days=1),
    Purpose.UNDO_EMAIL: timedelta(hours=72),
}

# Expired tokens are kept for this long.
RETENTION = timedelta(days=7)


class OneTimeToken(Table):
    """`email` is the address that the token was sent to: using it proves that the user reads mail there.

    An undo token restores this address. As long as it is valid, no other account can take the address. `is_confirmed`:
    the account had confirmed the address when it began to give it up. Until `claimed_until` a request has the token for
    itself.
    """

    __tablename__ = "one_time_tokens"

    token_hash: Mapped[bytes] = mapped_column(BINARY(32), primary_key=True)
    purpose: Mapped[str]
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"))
    email: Mapped[str]
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    claimed_until: Mapped[datetime | None]
    is_confirmed: Mapped[bool] = mapped_column(default=False)
