"""Several changes of one row in one transaction have one place in the source's log, and the last one wins."""

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from e2e.copies import Copies
from e2e.users import User
from support.polling import eventually


@pytest.mark.parametrize("compression", ["OFF", "ON"])
async def test_last_change_of_a_mysql_transaction_wins(user: User, copies: Copies, compression: str) -> None:
    template = await copies.row("SELECT * FROM auth.users WHERE id = :id", id=user.id)
    assert template is not None
    updated, deleted, again, replaced = (str(uuid4()) for _ in range(4))

    async def insert(connection: AsyncConnection, key: str, name: str) -> None:
        unique = {"id": key, "username": f"u{key[:8]}", "email": f"{key}@example.com", "name": name}
        row = {**template, **unique}
        columns = ", ".join(row)
        places = ", ".join(f":{column}" for column in row)
        await connection.execute(text(f"INSERT INTO auth.users ({columns}) VALUES ({places})"), row)  # noqa: S608 - names of the table

    async def delete(connection: AsyncConnection, key: str) -> None:
        await connection.execute(text("DELETE FROM auth.users WHERE id = :id"), {"id": key})

    async with copies.mysql.connect() as connection:
        await connection.execute(text(f"SET SESSION binlog_transaction_compression = {compression}"))
        await connection.rollback()
        async with connection.begin():
            await insert(connection, replaced, "first")
        async with connection.begin():
            await insert(connection, updated, "0")
            for name in range(1, 6):
                statement = text("UPDATE auth.users SET name = :name WHERE id = :id")
                await connection.execute(statement, {"name": str(name), "id": updated})
            await insert(connection, deleted, "x")
            await delete(connection, deleted)
            await insert(connection, again, "x")
            await delete(connection, again)
            await insert(connection, again, "again")
            await delete(connection, replaced)
            await insert(connection, replaced, "replaced")
        await connection.invalidate()

    wanted = {updated: "5", deleted: None, again: "again", replaced: "replaced"}

    async def copied() -> dict[str, Any]:
        found = {key: await copies.user(key) for key in wanted}
        return {key: found_user and found_user["name"] for key, found_user in found.items()}

    await eventually(copied, lambda names: names == wanted)


async def test_last_change_of_a_mongodb_transaction_wins(user: User, copies: Copies) -> None:
    likes = copies.mongo.get_database("tweets").get_collection("likes")

    def day(number: int) -> datetime:
        return datetime(2026, 1, number, tzinfo=UTC)

    names = ("updated", "deleted", "again", "replaced", "emptied")
    ids = {name: {"tweet_id": f"{name:x>24}", "user_id": user.id} for name in names}
    likes.insert_many([{"_id": ids[name], "created_at": day(1)} for name in ("replaced", "emptied")])

    def changes(session: Any) -> None:
        likes.insert_one({"_id": ids["updated"], "created_at": day(1)}, session=session)
        for number in range(2, 7):
            likes.update_one({"_id": ids["updated"]}, {"$set": {"created_at": day(number)}}, session=session)
        likes.insert_one({"_id": ids["deleted"], "created_at": day(1)}, session=session)
        likes.delete_one({"_id": ids["deleted"]}, session=session)
        likes.insert_one({"_id": ids["again"], "created_at": day(1)}, session=session)
        likes.delete_one({"_id": ids["again"]}, session=session)
        likes.insert_one({"_id": ids["again"], "created_at": day(2)}, session=session)
        likes.delete_one({"_id": ids["replaced"]}, session=session)
        likes.insert_one({"_id": ids["replaced"], "created_at": day(3)}, session=session)
        likes.update_one({"_id": ids["emptied"]}, {"$set": {"created_at": day(4)}}, session=session)
        likes.delete_one({"_id": ids["emptied"]}, session=session)

    with copies.mongo.start_session() as session, session.start_transaction():
        changes(session)
    wanted = {"updated": day(6), "deleted": None, "again": day(2), "replaced": day(3), "emptied": None}

    async def copied() -> dict[str, datetime | None]:
        statement = "SELECT created_at FROM tweets.likes WHERE tweet_id = :tweet_id AND user_id = :user_id"
        found = {name: await copies.row(statement, **key) for name, key in ids.items()}
        return {name: row and row["created_at"].replace(tzinfo=UTC) for name, row in found.items()}

    await eventually(copied, lambda moments: moments == wanted)
