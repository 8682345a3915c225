"""The part "import": how fast a dataset is imported, and how long after that the copy in MySQL has all of it."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pymongo
from sqlalchemy import text

from benchmarks.environment import running_stack, say, variables_of_sync
from benchmarks.machine import versions
from benchmarks.measurement import Measurement, MeasurementError, Options, Sample
from benchmarks.report import Comparison, Report
from benchmarks.tweet_dataset import write_dataset
from service_kit.mysql import create_engine

TWEETS, SYNC = (Path(sys.executable).with_name(name) for name in ("tweet-service", "sync-service"))
# As many as the public dataset has.
RECORDS = 24_832
IMPORTED, COPIED = "imported", "copied to MySQL"
_POLL_SECONDS = 0.05
_PATIENCE_SECONDS = 300.0


@dataclass(frozen=True)
class ImportFigures:
    """Seconds count from the start of the command `tweet-service import`.

    `imported_seconds` is when it had ended, the start of Python included; `copied_seconds` when MySQL had every
    tweet. `tweets` are more than `records`: originals of reposts come with them.
    """

    records: int
    tweets: int
    imported_seconds: float
    copied_seconds: float

    @property
    def records_per_second(self) -> float:
        return self.records / self.imported_seconds

    @property
    def copied_per_second(self) -> float:
        return self.tweets / self.copied_seconds

    @property
    def lag_seconds(self) -> float:
        """How far the copy was behind when the import had ended."""
        return self.copied_seconds - self.imported_seconds


def measure(_options: Options) -> Report:
    """One import into a whole stack of its own, of which every row must be in both stores, and alike in them.

    Raises `MeasurementError` or `StackError`.
    """
    with running_stack() as stack:
        say(f"importing {RECORDS} records …")
        figures = measure_import(stack.addresses, stack.configuration.state)
        say("comparing every row of both stores …")
        _run(SYNC, "reconcile", "--route", "tweets", **variables_of_sync(stack.addresses))
    say(f"MySQL had all {figures.tweets} tweets {figures.lag_seconds:.2f} s after the import had ended")
    rates = {IMPORTED: figures.records_per_second, COPIED: figures.copied_per_second}
    return Report(
        part="import",
        settings={"records": RECORDS, "tweets": figures.tweets, "lag_seconds": round(figures.lag_seconds, 3)},
        versions={"tandem": versions(("pymongo", "msgspec", "aiokafka", "asyncmy"), Path(sys.prefix))},
        samples=[Sample(case, "tandem", 1, Measurement(rate, 0.0, 0.0)) for case, rate in rates.items()],
        comparisons=[Comparison("rate of the copy / rate of the import", (COPIED, "tandem"), (IMPORTED, "tandem"))],
    )


def measure_import(
    addresses: Mapping[str, str], folder: Path, *, records: int = RECORDS, seed: int = 1
) -> ImportFigures:
    """Generate a dataset, import it into a running stack without any imported tweet, and wait for the copy.

    `addresses` are the stack's. Raises `MeasurementError` if not everything arrives.
    """
    dataset = folder / f"tweets-{records}-{seed}.json"
    write_dataset(records, seed, dataset, is_canonical=True)
    begun = time.perf_counter()
    _run(TWEETS, "import", str(dataset), MONGODB_URL=addresses["MONGODB_URL"])
    imported = time.perf_counter()
    with pymongo.MongoClient[dict[str, Any]](addresses["MONGODB_URL"]) as mongo:
        of_import = {"author_id": {"$regex": "^imported:"}}
        tweets = mongo.get_default_database()["tweets"].count_documents(of_import)
    copied = asyncio.run(_copied(addresses["MYSQL_ROOT_URL"], tweets))
    return ImportFigures(records, tweets, imported_seconds=imported - begun, copied_seconds=copied - begun)


def _run(program: Path, *arguments: str, **environment: str) -> None:
    done = subprocess.run(
        [program, *arguments], env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip()
        raise MeasurementError(f"{program.name} {arguments[0]} ended with {done.returncode}: {said}")


async def _copied(mysql_root_url: str, tweets: int) -> float:
    """When MySQL has so many imported tweets."""
    engine = create_engine(mysql_root_url)
    question = text("SELECT COUNT(*) FROM tweets.tweets WHERE author_id LIKE 'imported:%'")
    deadline = time.perf_counter() + _PATIENCE_SECONDS
    try:
        while True:
            async with engine.connect() as connection:
                found = (await connection.execute(question)).scalar_one()
            now = time.perf_counter()
            if found >= tweets:
                return now
            if now > deadline:
                raise MeasurementError(f"MySQL has {found} of {tweets} imported tweets after {_PATIENCE_SECONDS:.0f} s")
            await asyncio.sleep(_POLL_SECONDS)
    finally:
        await engine.dispose()
