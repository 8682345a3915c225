"""The table of sessions: one row for each refresh token ever handed out, until it has expired."""

from datetime import datetime

from sqlalchemy import BINARY, ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from auth_service.database import Moment, Table, new_id, now


class RefreshToken(Table):
    """A family is what one login started; `spent_at` is when it was exchanged for its successor."""

    __tablename__ = "sessions"

    id: Mapped[str] = mapped_column(primary_key=True, default=new_id)
    family: Mapped[str]
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"))
    token_hash: Mapped[bytes] = mapped_column(BINARY(32))
    created_at: Mapped[datetime] = mapped_column(Moment, default=now)
    expires_at: Mapped[datetime] = mapped_column(Moment)
    spent_at: Mapped[datetime | None] = mapped_column(Moment)
    revoked_at: Mapped[datetime | None] = mapped_column(Moment)
