"""The copies of likes and follows."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0002"
down_revision = "0001"

MOMENT = mysql.DATETIME(fsp=6)
ASCII = "ascii_bin"


def upgrade() -> None:
    _create_copy("likes", [("tweet_id", 24), ("user_id", 36)])
    op.create_index("by_user", "likes_copy", ["user_id", "created_at"])
    _create_copy("follows", [("follower_id", 36), ("followee_id", 36)])
    op.create_index("by_followee", "follows_copy", ["followee_id", "created_at"])


def _create_copy(name: str, key: Sequence[tuple[str, int]]) -> None:
    """As in 0001: no column but the key is required, no unique index but the primary key."""
    op.create_table(
        f"{name}_copy",
        *(sa.Column(column, sa.CHAR(width, collation=ASCII), primary_key=True) for column, width in key),
        sa.Column("created_at", MOMENT),
        sa.Column("sync_event", sa.String(80, collation=ASCII), nullable=False),
        sa.Column("sync_epoch", sa.String(255, collation=ASCII), nullable=False),
        sa.Column("sync_position", sa.String(80, collation=ASCII)),
        sa.Column("sync_operation", sa.CHAR(1, collation=ASCII), nullable=False),
        sa.Column("sync_deleted_at", MOMENT, index=True),
    )
    columns = ", ".join([*(column for column, _ in key), "created_at"])
    live = f"SELECT {columns} FROM {name}_copy WHERE sync_deleted_at IS NULL"  # noqa: S608 - names of this file
    op.execute(f"CREATE VIEW {name} AS {live}")


def downgrade() -> None:
    for name in ("follows", "likes"):
        op.execute(f"DROP VIEW {name}")
        op.drop_table(f"{name}_copy")
