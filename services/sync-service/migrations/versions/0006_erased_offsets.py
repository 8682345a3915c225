"""How far topics are known to be free of fields that a route excludes."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

ASCII = "ascii_bin"


def upgrade() -> None:
    op.create_table(
        "sync_erased",
        sa.Column("topic", sa.String(249, collation=ASCII), primary_key=True),
        sa.Column("topic_id", sa.CHAR(32, collation=ASCII), primary_key=True),
        sa.Column("partition_number", sa.Integer, primary_key=True, autoincrement=False),
        # Of the fields that were looked for: others make it necessary to look again.
        sa.Column("fields", sa.CHAR(32, collation=ASCII), nullable=False),
        # No record before it carries one of them.
        sa.Column("next_offset", sa.BigInteger, nullable=False),
    )


def downgrade() -> None:
    op.drop_table("sync_erased")
