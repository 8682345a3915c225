"""The copy of the tweets."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0001"
down_revision = None

MOMENT = mysql.DATETIME(fsp=6)
ASCII = "ascii_bin"


def upgrade() -> None:
    # Columns may be null, all but the key: a tombstone has nothing in them. No unique index but the primary key:
    # the upsert would take a row that collides there for the one it is about.
    op.create_table(
        "tweets_copy",
        sa.Column("id", sa.CHAR(24, collation=ASCII), primary_key=True),
        sa.Column("author_id", sa.CHAR(36, collation=ASCII)),
        sa.Column("text", sa.Text),
        sa.Column("created_at", MOMENT),
        sa.Column("edited_at", MOMENT),
        sa.Column("version", sa.Integer),
        sa.Column("reply_to", sa.CHAR(24, collation=ASCII)),
        sa.Column("repost_of", sa.CHAR(24, collation=ASCII)),
        sa.Column("quote_of", sa.CHAR(24, collation=ASCII)),
        sa.Column("entities", sa.JSON),
        sa.Column("lang", sa.String(20)),
        sa.Column("source", sa.String(255)),
        sa.Column("sync_event", sa.String(80, collation=ASCII), nullable=False),
        sa.Column("sync_epoch", sa.String(255, collation=ASCII), nullable=False),
        sa.Column("sync_position", sa.String(80, collation=ASCII)),
        sa.Column("sync_operation", sa.CHAR(1, collation=ASCII), nullable=False),
        sa.Column("sync_deleted_at", MOMENT, index=True),
    )
    op.create_index("by_author", "tweets_copy", ["author_id", "created_at"])
    op.execute(
        "CREATE VIEW tweets AS SELECT id, author_id, text, created_at, edited_at, version, reply_to, repost_of, "
        "quote_of, entities, lang, source FROM tweets_copy WHERE sync_deleted_at IS NULL"
    )


def downgrade() -> None:
    op.execute("DROP VIEW tweets")
    op.drop_table("tweets_copy")
