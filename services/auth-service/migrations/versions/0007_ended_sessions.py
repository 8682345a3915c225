"""Store the sessions that ended recently with the account, so that the sync carries a logout to the other services."""

import sqlalchemy as sa
from alembic import op

from service_kit.migrations import add_column

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    # The default serves replicas of the previous release, which do not know the column.
    add_column("users", sa.Column("ended_sessions", sa.String(4000, collation="ascii_bin"), nullable=True))


def downgrade() -> None:
    op.drop_column("users", "ended_sessions")
