"""An imported dataset takes the way of every tweet: through Debezium and Kafka to MySQL."""

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

from sqlalchemy import text

from benchmarks.tweet_dataset import write_dataset
from e2e.copies import Copies
from embedded_stack import Stack
from support.polling import eventually

PROGRAM = Path(sys.executable).with_name("tweet-service")
RECORDS = 3_000


async def run(stack: Stack, *arguments: str | Path) -> str:
    process = await asyncio.create_subprocess_exec(
        PROGRAM,
        *arguments,
        env={**os.environ, "MONGODB_URL": stack.addresses["MONGODB_URL"]},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    return out.decode()


async def imported_rows(copies: Copies) -> dict[str, dict[str, Any]]:
    async with copies.mysql.connect() as connection:
        found = await connection.execute(text("SELECT * FROM tweets.tweets WHERE author_id LIKE 'imported:%'"))
        return {row["id"]: dict(row) for row in found.mappings()}


async def test_imported_tweets_arrive_in_mysql_row_by_row(running_stack: Stack, copies: Copies, tmp_path: Path) -> None:
    path = tmp_path / "tweets.json.gz"
    write_dataset(RECORDS, 3, path, is_canonical=True)
    assert f"{RECORDS:,} records" in await run(running_stack, "import", path)

    collection = copies.mongo.get_database("tweets").get_collection("tweets")
    expected = {str(each["_id"]): each for each in collection.find({"author_id": {"$regex": "^imported:"}})}
    assert len(expected) > RECORDS
    rows = await eventually(lambda: imported_rows(copies), lambda rows: len(rows) >= len(expected))

    assert rows.keys() == expected.keys()
    for tweet_id, tweet in expected.items():
        row = rows[tweet_id]
        for name in ("text", "author_id", "version", "lang", "source", "edited_at"):
            assert row[name] == tweet[name]
        for name in ("reply_to", "repost_of", "quote_of"):
            assert row[name] == (None if tweet[name] is None else str(tweet[name]))
        assert row["created_at"] == tweet["created_at"].replace(tzinfo=None)

    # A second import makes no change, so there is nothing new to arrive.
    assert f"  skipped{RECORDS:>14,}" in await run(running_stack, "import", path)
    assert await imported_rows(copies) == rows
