"""Remember of the address that a link restores whether the account had confirmed it."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

from service_kit.migrations import add_column

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    # Of the addresses of older links it is not known.
    add_column("one_time_tokens", sa.Column("is_confirmed", mysql.TINYINT(1), nullable=False, server_default="0"))


def downgrade() -> None:
    op.drop_column("one_time_tokens", "is_confirmed")
