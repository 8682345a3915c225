"""The processes of the service, and the pauses that each of them holds."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0009"
down_revision = "0008"

ASCII = "ascii_bin"


def upgrade() -> None:
    op.create_table(
        "sync_processes",
        sa.Column("process_id", sa.CHAR(32, collation=ASCII), primary_key=True),
        # For operators: the host and the process id there.
        sa.Column("name", sa.String(200), nullable=False),
        # Of its routes, as JSON.
        sa.Column("topics", sa.Text(collation=ASCII), nullable=False),
        sa.Column("seen_at", mysql.DATETIME(fsp=6), nullable=False),
    )
    op.create_table(
        "sync_held_pauses",
        sa.Column("topic", sa.String(249, collation=ASCII), primary_key=True),
        sa.Column("process_id", sa.CHAR(32, collation=ASCII), primary_key=True),
        # Of the pause: a route may be resumed and paused again.
        sa.Column("stopped_at", mysql.DATETIME(fsp=6), nullable=False),
    )


def downgrade() -> None:
    op.drop_table("sync_held_pauses")
    op.drop_table("sync_processes")
