"""Events that no copy has got, because the broker does not have them any more."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0003"
down_revision = "0002"

ASCII = "ascii_bin"


def upgrade() -> None:
    op.create_table(
        "sync_gaps",
        # As long as Kafka's names may be; they are ASCII.
        sa.Column("topic", sa.String(249, collation=ASCII), primary_key=True),
        sa.Column("topic_id", sa.CHAR(32, collation=ASCII), primary_key=True),
        sa.Column("partition_number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("first_offset", sa.BigInteger, primary_key=True, autoincrement=False),
        # Of the first event after the gap; NULL if it is not known where the gap ends.
        sa.Column("end_offset", sa.BigInteger),
        sa.Column("reason", sa.String(200), nullable=False),
        sa.Column("found_at", mysql.DATETIME(fsp=6), nullable=False),
    )


def downgrade() -> None:
    op.drop_table("sync_gaps")
