"""The generated dataset: reproducible, and similar to the public one."""

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from benchmarks.tweet_dataset import documents, write_dataset
from tweet_service.importing.mapping import SourceTweet, content_of, read_tweet
from tweet_service.importing.reading import Record

NOW = datetime(2026, 1, 1, tzinfo=UTC)
REPOSITORY = Path(__file__).parents[2]


def read(document: Any) -> SourceTweet:
    return read_tweet(Record(1, json.dumps(document).encode()), NOW)


def test_generated_dataset_is_the_same_each_time(tmp_path: Path) -> None:
    one, other = tmp_path / "one.json.gz", tmp_path / "other.json.gz"
    write_dataset(200, 7, one, is_canonical=True)
    write_dataset(200, 7, other, is_canonical=True)
    assert one.read_bytes() == other.read_bytes()
    write_dataset(200, 8, other, is_canonical=True)
    assert one.read_bytes() != other.read_bytes()
    shorter = list(documents(50, 7, is_canonical=True))
    assert list(documents(200, 7, is_canonical=True))[:50] == shorter


def test_generated_dataset_looks_like_the_public_one() -> None:
    found = list(documents(3000, 1, is_canonical=True))
    names = set().union(*found)
    assert len(names) == 19
    assert 150 < sum("retweeted_status" in document for document in found) < 350
    assert len({document["id"]["$numberLong"] for document in found}) == 3000
    relaxed = list(documents(3000, 1, is_canonical=False))
    for canonical_one, relaxed_one in zip(found, relaxed, strict=True):
        tweet = read(canonical_one)
        assert read(relaxed_one) == tweet
        # What Twitter would have found is found here.
        content = content_of(tweet)
        entities = canonical_one["entities"]
        assert [each["tag"] for each in content["entities"]["hashtags"]] == [
            each["text"] for each in entities["hashtags"]
        ]
        assert [each["username"] for each in content["entities"]["mentions"]] == [
            each["screen_name"] for each in entities["user_mentions"]
        ]
        assert [each["url"] for each in content["entities"]["urls"]] == [each["url"] for each in entities["urls"]]


@pytest.mark.integration
def test_reader_of_the_standard_output_may_close_it() -> None:
    command = f"{sys.executable} -m benchmarks.tweet_dataset --count 5000 --relaxed | head -n 3"
    done = subprocess.run(["bash", "-c", command], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert [json.loads(line)["id"] > 0 for line in done.stdout.splitlines()] == [True] * 3
    assert done.stderr == ""
