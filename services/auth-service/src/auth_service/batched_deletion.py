"""Deletes rows in batches, each in its own transaction: any number of rows holds locks for a short time only."""

from sqlalchemy import ColumnElement, delete

from auth_service.database import Database, Table, rows_affected

# Rows of one DELETE statement.
BATCH_SIZE = 1000


async def delete_in_batches(
    database: Database, table: type[Table], which: ColumnElement[bool], caller_id: str | None = None
) -> None:
    """Delete all of these rows, for an account's request or for none.

    What is deleted stays deleted if a later batch fails.
    """
    statement = delete(table).where(which).with_dialect_options(mysql_limit=BATCH_SIZE)
    while True:
        async with database.transaction(caller_id) as session:
            deleted = await rows_affected(session, statement)
        if deleted < BATCH_SIZE:
            return
