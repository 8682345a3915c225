"""The tables of accounts. Debezium captures `users`, so that it must never contain a secret."""

from datetime import datetime

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column, relationship

from auth_service.database import Table, new_id
from service_kit.authentication import accepts_token
from service_kit.roles import Role
from service_kit.tokens import AccessToken


class User(Table):
    """The public part of an account."""

    __tablename__ = "users"

    id: Mapped[str] = mapped_column(primary_key=True, default=new_id)
    username: Mapped[str]
    name: Mapped[str]
    email: Mapped[str]
    role: Mapped[str] = mapped_column(default=Role.CUSTOMER)
    is_active: Mapped[bool] = mapped_column(default=True)
    tokens_valid_after: Mapped[datetime | None]
    # Ids of sessions whose access tokens may not have expired yet, separated by spaces. The sync carries them to the
    # other services.
    ended_sessions: Mapped[str | None]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]

    credential: Mapped["Credential"] = relationship(
        lazy="joined", innerjoin=True, cascade="all, delete-orphan", passive_deletes=True
    )

    @property
    def email_verified(self) -> bool:
        return self.credential.email_verified_at is not None

    @property
    def pending_email(self) -> str | None:
        return self.credential.pending_email

    def accepts(self, token: AccessToken) -> bool:
        """Whether an access token of this account was not revoked."""
        return accepts_token(
            token,
            is_active=self.is_active,
            tokens_valid_after=self.tokens_valid_after,
            ended_sessions=self.ended_sessions,
        )


class Credential(Table):
    """The private part of an account.

    `pending_email` is a new address that is not confirmed yet, and `undo_email` the address that can undo the change to
    it: the present one, or an older one that is still protected. `is_password_reset_due`: a change of the address was
    undone, so that an intruder knows the password; no sensitive action accepts it before it is reset by mail.
    """

    __tablename__ = "credentials"

    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"), primary_key=True)
    password_hash: Mapped[str]
    password_changed_at: Mapped[datetime | None]
    email_verified_at: Mapped[datetime | None]
    pending_email: Mapped[str | None]
    undo_email: Mapped[str | None]
    is_password_reset_due: Mapped[bool] = mapped_column(default=False)

    def end_change(self) -> None:
        """End a change of the address that is not confirmed yet."""
        self.pending_email = self.undo_email = None


class HeldUsername(Table):
    """A username that an account gave up. No other account can take it before `held_until`.

    The account may have been deleted: the row has no foreign key.
    """

    __tablename__ = "held_usernames"

    username: Mapped[str] = mapped_column(primary_key=True)
    user_id: Mapped[str]
    held_until: Mapped[datetime]
