"""Sessions that show where they are, mailed tokens, an audit trail, limits on attempts and keys with a schedule."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0002"
down_revision = "0001"

MOMENT = mysql.DATETIME(fsp=6)
TEXT_KEY = sa.String(36, collation="ascii_bin")
HASH = sa.BINARY(32)
ADDRESS = sa.String(45, collation="ascii_bin")
CLIENT = sa.String(200)
FOLDED = "utf8mb4_0900_ai_ci"


def _user_id() -> sa.Column[str]:
    return sa.Column("user_id", TEXT_KEY, sa.ForeignKey("users.id", ondelete="CASCADE"), nullable=False, index=True)


def upgrade() -> None:
    op.create_index("ix_users_role", "users", ["role", "is_active"])
    op.create_index("ix_users_name", "users", ["name"])
    op.add_column("credentials", sa.Column("email_verified_at", MOMENT, nullable=True))
    op.add_column("credentials", sa.Column("pending_email", sa.String(254, collation=FOLDED), nullable=True))
    op.add_column("credentials", sa.Column("password_changed_at", MOMENT, nullable=True))

    # What was one row for each refresh token becomes a session and its refresh tokens.
    op.rename_table("sessions", "token_rows")
    op.create_table(
        "sessions",
        sa.Column("id", TEXT_KEY, primary_key=True),
        _user_id(),
        sa.Column("client", CLIENT, nullable=False),
        sa.Column("address", ADDRESS, nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("last_used_at", MOMENT, nullable=False),
        sa.Column("expires_at", MOMENT, nullable=False, index=True),
        sa.Column("ended_at", MOMENT, nullable=True),
    )
    op.create_table(
        "refresh_tokens",
        sa.Column("token_hash", HASH, primary_key=True),
        sa.Column("session_id", TEXT_KEY, sa.ForeignKey("sessions.id", ondelete="CASCADE"), nullable=False, index=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("spent_at", MOMENT, nullable=True),
        sa.Column("sealed_successor", sa.VARBINARY(64), nullable=True),
    )
    op.execute(
        "INSERT INTO sessions (id, user_id, client, address, created_at, last_used_at, expires_at, ended_at) "
        "SELECT family, user_id, '', '', MIN(created_at), MAX(created_at), MIN(expires_at), MAX(revoked_at) "
        "FROM token_rows GROUP BY family, user_id"
    )
    op.execute(
        "INSERT INTO refresh_tokens (token_hash, session_id, created_at, spent_at) "
        "SELECT token_hash, family, created_at, spent_at FROM token_rows"
    )
    op.drop_table("token_rows")

    op.create_table(
        "one_time_tokens",
        sa.Column("token_hash", HASH, primary_key=True),
        sa.Column("purpose", sa.String(20, collation="ascii_bin"), nullable=False),
        _user_id(),
        sa.Column("email", sa.String(254, collation=FOLDED), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("expires_at", MOMENT, nullable=False, index=True),
    )
    # No foreign key: what happened outlives the account.
    op.create_table(
        "audit_events",
        sa.Column("id", TEXT_KEY, primary_key=True),
        sa.Column("event", sa.String(40, collation="ascii_bin"), nullable=False),
        sa.Column("user_id", TEXT_KEY, nullable=True),
        sa.Column("actor_id", TEXT_KEY, nullable=True),
        sa.Column("address", ADDRESS, nullable=False),
        sa.Column("client", CLIENT, nullable=False),
        sa.Column("request_id", sa.String(128, collation="ascii_bin"), nullable=False),
        sa.Column("details", sa.JSON, nullable=False),
        sa.Column("created_at", MOMENT, nullable=False, index=True),
        sa.Index("ix_audit_events_event", "event", "id"),
        sa.Index("ix_audit_events_user_id", "user_id", "id"),
        sa.Index("ix_audit_events_actor_id", "actor_id", "id"),
    )
    op.create_table(
        "login_attempts",
        sa.Column("subject", HASH, primary_key=True),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("last_at", MOMENT, nullable=False),
        sa.Column("blocked_until", MOMENT, nullable=False),
        sa.Column("forgotten_at", MOMENT, nullable=False, index=True),
    )

    op.add_column("signing_keys", sa.Column("signs_from", MOMENT, nullable=True))
    op.execute("UPDATE signing_keys SET signs_from = created_at")
    op.alter_column("signing_keys", "signs_from", existing_type=MOMENT, nullable=False)


def downgrade() -> None:
    raise NotImplementedError("sessions can't be put back into one table without ending them; restore a backup")
