"""Targets of imports."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.tweet_dataset import write_dataset
from support.import_target import ImportTarget
from support.tweet_app import OwnDatabase, own_database


@pytest.fixture(scope="module")
def target_database(mongodb_url: str) -> Iterator[OwnDatabase]:
    with own_database(mongodb_url) as own:
        yield own


@pytest.fixture
def target(target_database: OwnDatabase, tmp_path: Path) -> ImportTarget:
    documents = target_database.documents
    for collection in documents.list_collection_names():
        # Keeps the indexes, which take longer to make.
        documents[collection].delete_many({})
    return ImportTarget(target_database.url, documents, tmp_path)


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
