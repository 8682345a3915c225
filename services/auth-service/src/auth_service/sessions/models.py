"""The tables of sessions and of their refresh tokens."""

from datetime import datetime

from sqlalchemy import BINARY, VARBINARY, ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from auth_service.database import Table, new_id


class Session(Table):
    """A session begins with a login and is a refresh-token family. A refresh does not change `expires_at`.

    `is_remembered`: the login had `remember_me`, so that a browser keeps the session when it is closed.

    Of its refresh tokens it stores a constant amount, however many they were: the hash of the family, which all of them
    contain, of the current one and of its predecessor, which was exchanged at `rotated_at` and encrypts the current
    one. `refreshes` counts since `refreshes_from`. A session of an earlier release has no `family_hash` before its
    first refresh; its tokens are in `refresh_tokens`.
    """

    __tablename__ = "sessions"

    id: Mapped[str] = mapped_column(primary_key=True, default=new_id)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"))
    client: Mapped[str]
    address: Mapped[str]
    created_at: Mapped[datetime]
    last_used_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    is_remembered: Mapped[bool]
    ended_at: Mapped[datetime | None]
    family_hash: Mapped[bytes | None] = mapped_column(BINARY(32))
    token_hash: Mapped[bytes | None] = mapped_column(BINARY(32))
    previous_token_hash: Mapped[bytes | None] = mapped_column(BINARY(32))
    sealed_token: Mapped[bytes | None] = mapped_column(VARBINARY(128))
    rotated_at: Mapped[datetime | None]
    refreshes: Mapped[int] = mapped_column(default=0)
    refreshes_from: Mapped[datetime | None]


class StoredRefreshToken(Table):
    """A refresh token that an earlier release issued. Rows are deleted with their sessions, and none are added.

    `spent_at` is the time of the exchange for a successor, which is encrypted with the token itself.
    """

    __tablename__ = "refresh_tokens"

    token_hash: Mapped[bytes] = mapped_column(BINARY(32), primary_key=True)
    session_id: Mapped[str] = mapped_column(ForeignKey("sessions.id"))
    created_at: Mapped[datetime]
    spent_at: Mapped[datetime | None]
    sealed_successor: Mapped[bytes | None] = mapped_column(VARBINARY(64))
