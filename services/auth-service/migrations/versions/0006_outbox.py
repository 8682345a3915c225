"""Store mails that are to be sent in the transaction that causes them, so that they survive a kill."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

from service_kit.migrations import create_index, create_table

revision = "0006"
down_revision = "0005"

MOMENT = mysql.DATETIME(fsp=6)
TEXT_KEY = sa.String(36, collation="ascii_bin")


def upgrade() -> None:
    create_table(
        "outbox",
        sa.Column("id", TEXT_KEY, primary_key=True),
        sa.Column("kind", sa.String(40, collation="ascii_bin"), nullable=False),
        # The mails of a deleted account are deleted with it.
        sa.Column("user_id", TEXT_KEY, sa.ForeignKey("users.id", ondelete="CASCADE"), nullable=True),
        sa.Column("recipient", sa.String(254), nullable=True),
        sa.Column("sealed_token", sa.VARBINARY(128), nullable=True),
        sa.Column("client", sa.JSON, nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("expires_at", MOMENT, nullable=False),
        sa.Column("due_at", MOMENT, nullable=True),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("reason", sa.String(200), nullable=True),
        sa.Column("died_at", MOMENT, nullable=True),
    )
    for column in ("user_id", "due_at", "died_at"):
        create_index(f"ix_outbox_{column}", "outbox", [column])


def downgrade() -> None:
    op.drop_table("outbox")
