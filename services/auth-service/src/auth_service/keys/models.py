"""The table of signing keys."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON
from sqlalchemy.orm import Mapped, mapped_column

from auth_service.database import Moment, Table


class SigningKey(Table):
    """Signs from `signs_from` until the next one does. `private_key` is encrypted; see `encryption`."""

    __tablename__ = "signing_keys"

    kid: Mapped[str] = mapped_column(primary_key=True)
    public_jwk: Mapped[dict[str, Any]] = mapped_column(JSON)
    private_key: Mapped[bytes]
    created_at: Mapped[datetime] = mapped_column(Moment)
    signs_from: Mapped[datetime] = mapped_column(Moment)
