"""Gaps without events: the source changed in a way that no event of a row describes."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

ASCII = "ascii_bin"
KEY = "topic, topic_id, partition_number, first_offset"


def upgrade() -> None:
    # A process of the last release writes no cause while it is replaced.
    op.add_column(
        "sync_gaps", sa.Column("cause", sa.String(32, collation=ASCII), nullable=False, server_default="lost-events")
    )
    op.execute(f"ALTER TABLE sync_gaps DROP PRIMARY KEY, ADD PRIMARY KEY ({KEY}, cause)")
    op.alter_column("sync_gaps", "reason", type_=sa.String(500), existing_type=sa.String(200), existing_nullable=False)
    op.create_table(
        "sync_source_states",
        sa.Column("kind", sa.String(32, collation=ASCII), primary_key=True),
        # A database of MongoDB, the topic of a connector, or a table.
        sa.Column("name", sa.String(255, collation="utf8mb4_bin"), primary_key=True),
        # How far the source has been watched.
        sa.Column("state", sa.String(2000, collation=ASCII), nullable=False),
    )


def downgrade() -> None:
    op.drop_table("sync_source_states")
    # Earlier releases know ranges of events only.
    op.execute("DELETE FROM sync_gaps WHERE partition_number < 0 OR cause <> 'lost-events'")
    op.execute(f"ALTER TABLE sync_gaps DROP PRIMARY KEY, ADD PRIMARY KEY ({KEY})")
    op.drop_column("sync_gaps", "cause")
    op.alter_column("sync_gaps", "reason", type_=sa.String(200), existing_type=sa.String(500), existing_nullable=False)
