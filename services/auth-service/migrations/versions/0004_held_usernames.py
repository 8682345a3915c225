"""Hold usernames that their accounts gave up, so that old mentions do not lead to a stranger."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

from service_kit.migrations import create_index, create_table

revision = "0004"
down_revision = "0003"

MOMENT = mysql.DATETIME(fsp=6)
TEXT_KEY = sa.String(36, collation="ascii_bin")
# As `users.username`: what collides there is held here.
FOLDED = "utf8mb4_0900_ai_ci"


def upgrade() -> None:
    # No foreign key: the name of a deleted account is held, too.
    create_table(
        "held_usernames",
        sa.Column("username", sa.String(30, collation=FOLDED), primary_key=True),
        sa.Column("user_id", TEXT_KEY, nullable=False),
        sa.Column("held_until", MOMENT, nullable=False),
    )
    for column in ("user_id", "held_until"):
        create_index(f"ix_held_usernames_{column}", "held_usernames", [column])


def downgrade() -> None:
    op.drop_table("held_usernames")
