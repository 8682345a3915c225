"""Find the newest, the oldest and the surplus sessions of an account, and refresh tokens of a session, by an index."""

from alembic import op

from service_kit.migrations import create_index, drop_index

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    create_index("ix_sessions_begun", "sessions", ["user_id", "created_at"])
    create_index("ix_sessions_used", "sessions", ["user_id", "ended_at", "last_used_at"])
    create_index("ix_refresh_tokens_age", "refresh_tokens", ["session_id", "created_at"])
    # The new one begins with the same column, so that it serves the foreign key, too.
    drop_index("ix_refresh_tokens_session_id", "refresh_tokens")


def downgrade() -> None:
    op.create_index("ix_refresh_tokens_session_id", "refresh_tokens", ["session_id"])
    for name, table in (
        ("ix_refresh_tokens_age", "refresh_tokens"),
        ("ix_sessions_used", "sessions"),
        ("ix_sessions_begun", "sessions"),
    ):
        op.drop_index(name, table)
