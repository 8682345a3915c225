"""Rows and documents of both databases."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pymongo
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from embedded_stack import Stack
from service_kit.mysql import create_engine

Document = dict[str, Any]


class Copies:
    def __init__(self, mysql: AsyncEngine, mongo: pymongo.MongoClient[Document]) -> None:
        self.mysql = mysql
        self.mongo = mongo

    async def row(self, statement: str, **parameters: object) -> Document | None:
        """One row of MySQL, as a dictionary."""
        async with self.mysql.connect() as connection:
            row = (await connection.execute(text(statement), parameters)).mappings().one_or_none()
            return dict(row) if row else None

    async def execute(self, statement: str, **parameters: object) -> None:
        async with self.mysql.begin() as connection:
            await connection.execute(text(statement), parameters)

    async def tweet(self, tweet_id: str) -> Document | None:
        """A tweet as MySQL has it."""
        return await self.row("SELECT * FROM tweets.tweets WHERE id = :id", id=tweet_id)

    async def user(self, user_id: str) -> Document | None:
        """A user as MongoDB has it."""
        return self.mongo.get_database("auth").get_collection("users").find_one({"_id": user_id})


@asynccontextmanager
async def copies_of(stack: Stack) -> AsyncIterator[Copies]:
    engine = create_engine(stack.addresses["MYSQL_ROOT_URL"])
    try:
        with pymongo.MongoClient[Document](stack.addresses["MONGODB_URL"], tz_aware=True) as mongo:
            yield Copies(engine, mongo)
    finally:
        await engine.dispose()
