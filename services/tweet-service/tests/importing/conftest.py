"""Targets of imports."""

import secrets
from collections.abc import Iterator
from pathlib import Path

import pymongo
import pytest

from benchmarks.tweet_dataset import write_dataset
from support.import_target import ImportTarget, Json


@pytest.fixture(scope="module")
def target_url(mongodb_url: str) -> Iterator[str]:
    url = mongodb_url.replace("/?", f"/import_test_{secrets.token_hex(4)}?")
    yield url
    with pymongo.MongoClient[Json](url) as client:
        client.drop_database(client.get_default_database().name)


@pytest.fixture
def target(target_url: str, tmp_path: Path) -> Iterator[ImportTarget]:
    with pymongo.MongoClient[Json](target_url, tz_aware=True) as client:
        database = client.get_default_database()
        for collection in database.list_collection_names():
            # Keeps the indexes, which take longer to make.
            database[collection].delete_many({})
        yield ImportTarget(target_url, database, tmp_path)


@pytest.fixture
def long_file(target: ImportTarget) -> Path:
    """3,000 records, of which some are rejected, in a file that takes a while in small batches."""
    path = target.path / "long.json"
    write_dataset(2_970, 5, path, is_canonical=False)
    lines = path.read_bytes().splitlines()
    for number in range(30):
        lines.insert(number * 100, b'{"id": "bad %d"}' % number)
    path.write_bytes(b"\n".join(lines))
    return path
