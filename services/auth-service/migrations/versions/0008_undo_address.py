"""Store which address can undo a change that is not confirmed yet, and which request uses a mailed token."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

from service_kit.migrations import add_column

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    # Null serves replicas of the previous release, which do not know the column.
    add_column("credentials", sa.Column("undo_email", sa.String(254, collation="utf8mb4_0900_ai_ci"), nullable=True))
    add_column("one_time_tokens", sa.Column("claimed_until", mysql.DATETIME(fsp=6), nullable=True))


def downgrade() -> None:
    op.drop_column("one_time_tokens", "claimed_until")
    op.drop_column("credentials", "undo_email")
