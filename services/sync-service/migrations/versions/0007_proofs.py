"""What is proven of the copies, range after range of the source's keys."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.mysql import DATETIME

revision = "0007"
down_revision = "0006"

ASCII = "ascii_bin"


def upgrade() -> None:
    op.create_table(
        "sync_proofs",
        sa.Column("route", sa.String(100, collation=ASCII), primary_key=True),
        # Of what is compared: another one makes it necessary to prove everything again.
        sa.Column("definition", sa.CHAR(32, collation=ASCII), nullable=False),
        sa.Column("source_rows", sa.BigInteger, nullable=False),
        sa.Column("problem", sa.String(500)),
    )
    op.create_table(
        "sync_proven_ranges",
        sa.Column("route", sa.String(100, collation=ASCII), primary_key=True),
        # In the order of the keys.
        sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
        # The key at which the range ends, as the source's driver has it; null for the last range.
        sa.Column("upper_bound", sa.BLOB),
        sa.Column("source_rows", sa.BigInteger, nullable=False),
        sa.Column("different_rows", sa.BigInteger, nullable=False),
        sa.Column("proven_at", DATETIME(fsp=6)),
    )


def downgrade() -> None:
    op.drop_table("sync_proven_ranges")
    op.drop_table("sync_proofs")
