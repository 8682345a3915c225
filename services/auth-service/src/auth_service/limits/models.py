"""The table of attempts."""

from datetime import datetime

from sqlalchemy import BINARY
from sqlalchemy.orm import Mapped, mapped_column

from auth_service.database import Table


class LoginAttempts(Table):
    """Recent attempts of one subject. The subject is hashed, so that the table does not reveal who tried what.

    The row may be deleted after `forgotten_at`.
    """

    __tablename__ = "login_attempts"

    subject: Mapped[bytes] = mapped_column(BINARY(32), primary_key=True)
    attempts: Mapped[int]
    last_at: Mapped[datetime]
    blocked_until: Mapped[datetime]
    forgotten_at: Mapped[datetime]
