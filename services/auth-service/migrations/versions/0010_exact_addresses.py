"""Compare email addresses exactly, in the one form that `canonical_address` gives them.

The former collation ignores accents and invisible characters, and takes `ß` for `ss`: the addresses of two people were
one address. Each step can be repeated, so that the next start continues after a kill.
"""

import sqlalchemy as sa
import structlog
from alembic import op
from alembic.util import CommandError
from sqlalchemy.dialects import mysql

from auth_service.users.addresses import canonical_address
from service_kit.migrations import add_column, has_index

revision = "0010"
down_revision = "0009"

EXACT, FOLDED = "utf8mb4_0900_bin", "utf8mb4_0900_ai_ci"
# Table, primary key, column, whether it may be null, and the index of the column.
ADDRESSES = (
    ("users", "id", "email", "NOT NULL", ("email", "UNIQUE INDEX email (email)")),
    ("credentials", "user_id", "pending_email", "NULL", None),
    ("credentials", "user_id", "undo_email", "NULL", None),
    (
        "one_time_tokens",
        "token_hash",
        "email",
        "NOT NULL",
        ("ix_one_time_tokens_email", "INDEX ix_one_time_tokens_email (email, purpose)"),
    ),
    ("outbox", "id", "recipient", "NULL", None),
)
_BATCH_SIZE = 1000

log = structlog.get_logger(__name__)


def upgrade() -> None:
    for table, key, column, null, index in ADDRESSES:
        _collate(table, column, null, index, EXACT)
        _bring_into_form(table, key, column)
    # The default serves replicas of the previous release, which do not count these mails.
    add_column("outbox", sa.Column("is_confirmed", mysql.TINYINT(1), nullable=False, server_default="1"))


def downgrade() -> None:
    op.drop_column("outbox", "is_confirmed")
    for table, _, column, null, index in ADDRESSES:
        _collate(table, column, null, index, FOLDED)


def _collate(table: str, column: str, null: str, index: tuple[str, str] | None, collation: str) -> None:
    """Without its index the column changes in place, and the new index is built in place.

    Together they would copy the table and refuse all writes meanwhile. Raises `CommandError` if a replica of the
    previous release has stored an address twice in between.
    """
    change = f"ALTER TABLE {table} MODIFY {column} VARCHAR(254) CHARACTER SET utf8mb4 COLLATE {collation} {null}"
    name, definition = index or (None, None)
    if name and has_index(table, name):
        change += f", DROP INDEX {name}"
    op.execute(change)
    if definition:
        try:
            op.execute(f"ALTER TABLE {table} ADD {definition}")
        except sa.exc.IntegrityError as error:
            raise CommandError(_duplicates()) from error


def _duplicates() -> str:
    """Names the accounts by their ids: an error is logged, and the log has no addresses."""
    query = sa.text(
        "SELECT GROUP_CONCAT(id ORDER BY id SEPARATOR ' and ') FROM users GROUP BY email HAVING COUNT(*) > 1 LIMIT 20"
    )
    return (
        f"accounts have the same email address: {'; '.join(op.get_bind().scalars(query))}. Stop all replicas of the "
        "previous version, give all but one of them another address, and start again (docs/operations.md, Upgrade)."
    )


def _bring_into_form(table: str, key: str, column: str) -> None:
    """Rewrite the addresses that an earlier release stored in another form.

    An address whose form another account has stays as it is, and its account can be found by the username only.
    """
    connection = op.get_bind()
    rows, id_of, email = sa.table(table, sa.column(key), sa.column(column)), sa.column(key), sa.column(column)
    is_plain = (sa.func.length(email) == sa.func.char_length(email)) & ~email.contains("xn--")
    lower = sa.func.lower(email)
    one_by_one = ~is_plain
    try:
        # The form of a plain address. These are by far the most.
        connection.execute(sa.update(rows).where(is_plain, lower != email).values({column: lower}))
    except sa.exc.IntegrityError:
        one_by_one |= lower != email
    last = None
    while True:
        query = sa.select(id_of, email).select_from(rows).where(one_by_one).order_by(id_of).limit(_BATCH_SIZE)
        found = connection.execute(query if last is None else query.where(id_of > last)).all()
        for row_id, address in found:
            last, form = row_id, canonical_address(address)
            try:
                connection.execute(sa.update(rows).where(id_of == row_id).values({column: form}))
            except sa.exc.IntegrityError:
                log.warning("address is taken in its canonical form", table=table, id=row_id)
        if len(found) < _BATCH_SIZE:
            return
