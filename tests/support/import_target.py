"""A target of `tweet-service import`: a database, a folder, and what the import has left in them."""

import json
import os
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bson import ObjectId
from pymongo.database import Database

from tweet_service.importing.command import ImportSettings, import_dataset
from tweet_service.importing.mapping import object_id

Json = dict[str, Any]
COUNTS = ("inserted", "updated", "skipped", "rejected", "originals")
PROGRAM = Path(sys.executable).with_name("tweet-service")


def tweet(number: int, **more: Any) -> Json:
    return {
        "id": number,
        "text": f"number {number}",
        "created_at": "Thu Sep 02 18:11:23 +0000 2010",
        "source": "web",
        "user": {"id": 42, "screen_name": "ada_2010", "name": "Ada"},
        **more,
    }


@dataclass(frozen=True)
class Outcome:
    code: int
    counts: Json
    rejects: list[Json]


@dataclass
class ImportTarget:
    """A database for one test, and a folder with the dataset."""

    url: str
    database: Database[Json]
    path: Path

    def write(self, *records: Any, name: str = "tweets.json") -> Path:
        path = self.path / name
        lines = [each if isinstance(each, bytes) else json.dumps(each).encode() for each in records]
        path.write_bytes(b"\n".join(lines) + b"\n")
        return path

    def load(self, *records: Any, batch: int = 1000, name: str = "tweets.json") -> Outcome:
        return self.load_file(self.write(*records, name=name), batch=batch)

    def load_file(self, path: Path, batch: int = 1000) -> Outcome:
        code = import_dataset(path, None, batch, ImportSettings(mongodb_url=self.url))
        return self.outcome(path, code)

    def outcome(self, path: Path, code: int) -> Outcome:
        state = self.state()
        rejects = path.with_name(f"{path.name}.rejects.ndjson")
        lines = rejects.read_text().splitlines() if rejects.exists() else []
        return Outcome(code, state["tally"] if state else {}, [json.loads(line) for line in lines])

    def state(self) -> Json | None:
        """The state of the import that was started last."""
        return self.database["imports"].find_one({"started_at": {"$exists": True}}, sort=[("started_at", -1)])

    def start(self, path: Path, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [PROGRAM, "import", path, *arguments],
            env={**os.environ, "MONGODB_URL": self.url},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def tweets(self) -> list[Json]:
        return list(self.database["tweets"].find().sort("_id"))

    def get(self, number: int) -> Json:
        found = self.database["tweets"].find_one({"_id": object_id(number)})
        assert found is not None
        return found

    def wait_until_done(self, process: subprocess.Popen[str], records: int) -> None:
        """Wait until so many records are stored."""
        deadline = time.monotonic() + 120
        while ((self.state() or {}).get("done", 0)) < records:
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.005)

    def assert_counts_are_exact(self) -> None:
        """`tweet_counts` equals the replies and reposts of every tweet."""
        there = {document["_id"]: document for document in self.tweets()}
        expected: dict[ObjectId, Counter[str]] = {}
        for document in there.values():
            for name, kind in (("reply_to", "replies"), ("repost_of", "reposts")):
                if document[name] in there:
                    expected.setdefault(document[name], Counter())[kind] += 1
        counted = {
            document.pop("_id"): Counter({kind: number for kind, number in document.items() if number})
            for document in self.database["tweet_counts"].find()
        }
        assert {tweet_id: counts for tweet_id, counts in counted.items() if counts} == expected

    def assert_threads_are_whole(self) -> None:
        there = {document["_id"]: document for document in self.tweets()}
        for document in there.values():
            chain: list[ObjectId] = []
            above = document["reply_to"]
            while above is not None:
                chain.insert(0, above)
                above = there[above]["reply_to"] if above in there else None
            assert document["ancestors"] == chain[-100:]


def counts_of(**counts: int) -> Json:
    return {name: counts.get(name, 0) for name in COUNTS}
