"""Tables of accounts. `users` is captured by Debezium: nothing secret may ever be in it."""

from datetime import datetime
from enum import StrEnum

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from auth_service.database import Moment, Table, new_id, now


class Role(StrEnum):
    CUSTOMER = "customer"
    TECHNICAL_WORKER = "technical_worker"
    SENIOR_MANAGER = "senior_manager"
    ADMIN = "admin"


class User(Table):
    __tablename__ = "users"

    id: Mapped[str] = mapped_column(primary_key=True, default=new_id)
    username: Mapped[str]
    name: Mapped[str]
    email: Mapped[str]
    role: Mapped[str] = mapped_column(default=Role.CUSTOMER)
    is_active: Mapped[bool] = mapped_column(default=True)
    tokens_valid_after: Mapped[datetime | None] = mapped_column(Moment)
    created_at: Mapped[datetime] = mapped_column(Moment, default=now)
    updated_at: Mapped[datetime] = mapped_column(Moment, default=now, onupdate=now)


class Credential(Table):
    __tablename__ = "credentials"

    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"), primary_key=True)
    password_hash: Mapped[str]
