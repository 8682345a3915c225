"""Which row of the source a row of a copy comes from, where different keys of the source have the same key here."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

TABLES = ("tweets_copy", "likes_copy", "follows_copy")


def upgrade() -> None:
    for table in TABLES:
        op.add_column(
            table, sa.Column("sync_source_id", sa.String(32, collation="ascii_bin"), nullable=False, server_default="")
        )


def downgrade() -> None:
    for table in TABLES:
        op.drop_column(table, "sync_source_id")
