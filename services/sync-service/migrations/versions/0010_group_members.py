"""Which member of the consumer group a process is."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    # Empty while the process is in no group.
    op.add_column(
        "sync_processes",
        sa.Column("member_id", sa.String(500, collation="ascii_bin"), nullable=False, server_default=""),
    )


def downgrade() -> None:
    op.drop_column("sync_processes", "member_id")
