"""Accounts, their credentials, sessions and signing keys."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0001"
down_revision = None

MOMENT = mysql.DATETIME(fsp=6)
TEXT_KEY = sa.String(36, collation="ascii_bin")
# Folds case and accents: `Ada` and `ada` are one name, and so are `José` and `jose`.
FOLDED = "utf8mb4_0900_ai_ci"


def upgrade() -> None:
    # The only table that is captured. It holds no secret, and never may.
    op.create_table(
        "users",
        sa.Column("id", TEXT_KEY, primary_key=True),
        sa.Column("username", sa.String(30, collation=FOLDED), nullable=False, unique=True),
        sa.Column("name", sa.String(50), nullable=False),
        sa.Column("email", sa.String(254, collation=FOLDED), nullable=False, unique=True),
        sa.Column("role", sa.String(20, collation="ascii_bin"), nullable=False),
        sa.Column("is_active", mysql.TINYINT(1), nullable=False),
        sa.Column("tokens_valid_after", MOMENT, nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("updated_at", MOMENT, nullable=False),
    )
    op.create_table(
        "credentials",
        sa.Column("user_id", TEXT_KEY, sa.ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("password_hash", sa.String(255, collation="ascii_bin"), nullable=False),
    )
    op.create_table(
        "sessions",
        sa.Column("id", TEXT_KEY, primary_key=True),
        sa.Column("family", TEXT_KEY, nullable=False, index=True),
        sa.Column("user_id", TEXT_KEY, sa.ForeignKey("users.id", ondelete="CASCADE"), nullable=False, index=True),
        sa.Column("token_hash", sa.BINARY(32), nullable=False, unique=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("expires_at", MOMENT, nullable=False, index=True),
        sa.Column("spent_at", MOMENT, nullable=True),
        sa.Column("revoked_at", MOMENT, nullable=True),
    )
    op.create_table(
        "signing_keys",
        sa.Column("kid", sa.String(43, collation="ascii_bin"), primary_key=True),
        sa.Column("public_jwk", sa.JSON, nullable=False),
        sa.Column("private_key", sa.LargeBinary(1024), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
    )


def downgrade() -> None:
    for table in ("signing_keys", "sessions", "credentials", "users"):
        op.drop_table(table)
