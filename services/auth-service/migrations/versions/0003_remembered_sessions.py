"""Store whether a session began with `remember_me`, which its lifetime no longer shows: lifetimes are settings."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    # The default serves replicas of the previous release, which do not know the column.
    op.add_column("sessions", sa.Column("is_remembered", mysql.TINYINT(1), nullable=False, server_default="0"))
    op.execute("UPDATE sessions SET is_remembered = 1 WHERE expires_at > created_at + INTERVAL 12 HOUR")


def downgrade() -> None:
    op.drop_column("sessions", "is_remembered")
