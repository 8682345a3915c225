"""Store a constant amount for each session: its refresh tokens have one family.

The tokens of the release before stay in `refresh_tokens` until their sessions are deleted.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

from service_kit.migrations import add_column, create_index

revision = "0011"
down_revision = "0010"

MOMENT = mysql.DATETIME(fsp=6)
HASH = sa.BINARY(32)


def upgrade() -> None:
    # Replicas of the previous release do not know these columns, and begin sessions without them.
    add_column("sessions", sa.Column("family_hash", HASH, nullable=True))
    add_column("sessions", sa.Column("token_hash", HASH, nullable=True))
    add_column("sessions", sa.Column("previous_token_hash", HASH, nullable=True))
    add_column("sessions", sa.Column("sealed_token", sa.VARBINARY(128), nullable=True))
    add_column("sessions", sa.Column("rotated_at", MOMENT, nullable=True))
    add_column("sessions", sa.Column("refreshes", sa.Integer, nullable=False, server_default="0"))
    add_column("sessions", sa.Column("refreshes_from", MOMENT, nullable=True))
    create_index("ix_sessions_family_hash", "sessions", ["family_hash"], unique=True)
    create_index("ix_sessions_ended_at", "sessions", ["ended_at"])


def downgrade() -> None:
    """The previous release does not know the refresh tokens of this one: these sessions end with their access token."""
    for index in ("ix_sessions_ended_at", "ix_sessions_family_hash"):
        op.drop_index(index, "sessions")
    for column in (
        "refreshes_from",
        "refreshes",
        "rotated_at",
        "sealed_token",
        "previous_token_hash",
        "token_hash",
        "family_hash",
    ):
        op.drop_column("sessions", column)
