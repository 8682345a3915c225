"""Transactions with several changes of one row, which the services' own writes never are.

All events of a MongoDB transaction have one place in the log, and so do those of a compressed MySQL transaction.
"""

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from bson import ObjectId
from pymongo.errors import PyMongoError
from pymysql.err import MySQLError

from faults.databases import Databases


class TransactionFailed(Exception):  # noqa: N818 - a result
    """It may have been committed."""


class Transactions:
    def __init__(self, databases: Databases) -> None:
        self._databases = databases

    async def rename(self, account: str, names: Sequence[str], *, compressed: bool) -> None:
        """Give an account these names, one after the other. Raises `TransactionFailed`."""

        def write() -> None:
            with self._databases.mysql() as connection, connection.cursor() as cursor:
                cursor.execute(f"SET SESSION binlog_transaction_compression = {'ON' if compressed else 'OFF'}")
                cursor.execute("BEGIN")
                for name in names:
                    changed = "UPDATE auth.users SET name = %s, updated_at = UTC_TIMESTAMP(6) WHERE id = %s"
                    cursor.execute(changed, (name, account))
                cursor.execute("COMMIT")

        await _attempt(write)

    async def edit(self, tweet: str, texts: Sequence[str], version: int) -> None:
        """Delete the tweet, create it again and give it these texts; the first one is `version`.

        Raises `TransactionFailed`.
        """

        def write() -> None:
            tweets, by_id = self._databases.documents["tweets"], {"_id": ObjectId(tweet)}
            with self._databases.client.start_session() as session, session.start_transaction():
                document = tweets.find_one_and_delete(by_id, session=session)
                if document is None:
                    raise TransactionFailed(f"tweet {tweet} is gone")
                tweets.insert_one({**document, "created_at": datetime.now(UTC)}, session=session)
                for number, text in enumerate(texts):
                    change = {"$set": {"text": text, "version": version + number}}
                    tweets.update_one(by_id, change, session=session)

        await _attempt(write)


async def _attempt(write: Callable[[], None]) -> None:
    try:
        await asyncio.to_thread(write)
    except (PyMongoError, MySQLError, OSError) as error:
        raise TransactionFailed(str(error)) from error
