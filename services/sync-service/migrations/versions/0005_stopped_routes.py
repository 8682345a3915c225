"""Routes that are stopped, and the events that an operator has decided to skip."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0005"
down_revision = "0004"

ASCII = "ascii_bin"


def upgrade() -> None:
    op.create_table(
        "sync_stops",
        # As long as Kafka's names may be; they are ASCII.
        sa.Column("topic", sa.String(249, collation=ASCII), primary_key=True),
        # -1 if the route as a whole has stopped, and not at an event of a partition.
        sa.Column("partition_number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("topic_id", sa.CHAR(32, collation=ASCII)),
        # Of the event at which the partition has stopped.
        sa.Column("next_offset", sa.BigInteger),
        sa.Column("cause", sa.String(40, collation=ASCII), nullable=False),
        sa.Column("reason", sa.String(1000), nullable=False),
        sa.Column("stopped_at", mysql.DATETIME(fsp=6), nullable=False),
    )
    op.create_table(
        "sync_skips",
        sa.Column("topic", sa.String(249, collation=ASCII), primary_key=True),
        sa.Column("topic_id", sa.CHAR(32, collation=ASCII), primary_key=True),
        sa.Column("partition_number", sa.Integer, primary_key=True, autoincrement=False),
        # Of the first event that is applied again.
        sa.Column("end_offset", sa.BigInteger, nullable=False),
        sa.Column("discards", sa.Boolean, nullable=False),
        sa.Column("requested_by", sa.String(100), nullable=False),
        sa.Column("requested_at", mysql.DATETIME(fsp=6), nullable=False),
    )


def downgrade() -> None:
    op.drop_table("sync_skips")
    op.drop_table("sync_stops")
