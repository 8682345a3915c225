"""The table of signing keys."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON
from sqlalchemy.orm import Mapped, mapped_column

from auth_service.database import Table


class SigningKey(Table):
    """The key signs from `signs_from` until the next key's. `private_key` is encrypted; see `encryption`."""

    __tablename__ = "signing_keys"

    kid: Mapped[str] = mapped_column(primary_key=True)
    public_jwk: Mapped[dict[str, Any]] = mapped_column(JSON)
    private_key: Mapped[bytes]
    created_at: Mapped[datetime]
    signs_from: Mapped[datetime]
