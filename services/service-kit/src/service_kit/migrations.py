"""Steps of Alembic's migrations that can be repeated.

MySQL commits each change of the schema by itself, and Alembic stores the revision after the last one. After a kill in
between, the next start runs the whole migration again.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op


def create_table(name: str, *columns: sa.Column[object]) -> None:
    """Create a table, unless it exists. Create its indexes with `create_index`: they are statements of their own."""
    if not _inspector().has_table(name):
        op.create_table(name, *columns)


def add_column(table: str, column: sa.Column[object]) -> None:
    if column.name not in {each["name"] for each in _inspector().get_columns(table)}:
        op.add_column(table, column)


def create_index(name: str, table: str, columns: Sequence[str], *, unique: bool = False) -> None:
    if not has_index(table, name):
        op.create_index(name, table, columns, unique=unique)


def drop_index(name: str, table: str) -> None:
    if has_index(table, name):
        op.drop_index(name, table)


def has_index(table: str, name: str) -> bool:
    return name in {each["name"] for each in _inspector().get_indexes(table)}


def _inspector() -> sa.Inspector:
    """A new one: an inspector keeps what it has read."""
    return sa.inspect(op.get_bind())
