"""The table of attempts."""

from datetime import datetime

from sqlalchemy import BINARY
from sqlalchemy.orm import Mapped, mapped_column

from auth_service.database import Moment, Table


class LoginAttempts(Table):
    """Lately made attempts of one subject, which is kept as a hash: no list of who tried what can be read off.

    After `forgotten_at` the row says nothing any more.
    """

    __tablename__ = "login_attempts"

    subject: Mapped[bytes] = mapped_column(BINARY(32), primary_key=True)
    attempts: Mapped[int]
    last_at: Mapped[datetime] = mapped_column(Moment)
    blocked_until: Mapped[datetime] = mapped_column(Moment)
    forgotten_at: Mapped[datetime] = mapped_column(Moment)
