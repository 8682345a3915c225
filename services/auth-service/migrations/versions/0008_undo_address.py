"""Store which address can undo a change of the email address that is not confirmed yet."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    # Null serves replicas of the previous release, which do not know the column.
    op.add_column("credentials", sa.Column("undo_email", sa.String(254, collation="utf8mb4_0900_ai_ci"), nullable=True))


def downgrade() -> None:
    op.drop_column("credentials", "undo_email")
