"""The tables of sessions and of their refresh tokens."""

from datetime import datetime

from sqlalchemy import BINARY, VARBINARY, ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from auth_service.database import Moment, Table, new_id


class Session(Table):
    """What one login started: a refresh-token family. `expires_at` is absolute, however often it is renewed."""

    __tablename__ = "sessions"

    id: Mapped[str] = mapped_column(primary_key=True, default=new_id)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"))
    client: Mapped[str]
    address: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(Moment)
    last_used_at: Mapped[datetime] = mapped_column(Moment)
    expires_at: Mapped[datetime] = mapped_column(Moment)
    ended_at: Mapped[datetime | None] = mapped_column(Moment)


class RefreshToken(Table):
    """`spent_at` is when it was exchanged for its successor, which is kept sealed under the token itself."""

    __tablename__ = "refresh_tokens"

    token_hash: Mapped[bytes] = mapped_column(BINARY(32), primary_key=True)
    session_id: Mapped[str] = mapped_column(ForeignKey("sessions.id"))
    created_at: Mapped[datetime] = mapped_column(Moment)
    spent_at: Mapped[datetime | None] = mapped_column(Moment)
    sealed_successor: Mapped[bytes | None] = mapped_column(VARBINARY(64))
