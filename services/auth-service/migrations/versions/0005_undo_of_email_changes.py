"""Undo a change of the email address: store that a password must be reset, and find the addresses that are held."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

from service_kit.migrations import add_column, create_index

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    # The default serves replicas of the previous release, which do not know the column.
    add_column("credentials", sa.Column("is_password_reset_due", mysql.TINYINT(1), nullable=False, server_default="0"))
    create_index("ix_one_time_tokens_email", "one_time_tokens", ["email", "purpose"])


def downgrade() -> None:
    op.drop_index("ix_one_time_tokens_email", "one_time_tokens")
    op.drop_column("credentials", "is_password_reset_due")
