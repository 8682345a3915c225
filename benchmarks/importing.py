"""The part "import": the rate of a dataset import, and the time until the copy in MySQL is complete."""

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

from benchmarks.environment import print_progress, running_stack, variables_of_sync
from benchmarks.machine import versions
from benchmarks.measurement import Measurement, MeasurementError, Options, Sample
from benchmarks.report import Comparison, Report
from benchmarks.tweet_dataset import write_dataset
from service_kit.mysql import create_engine

TWEETS, SYNC = (Path(sys.executable).with_name(name) for name in ("tweet-service", "sync-service"))
# The size of the public dataset.
RECORDS = 24_832
IMPORTED, COPIED = "imported", "copied to MySQL"
_POLL_SECONDS = 0.05
_TIMEOUT_SECONDS = 300.0


@dataclass(frozen=True)
class ImportFigures:
    """Seconds count from the start of the command `tweet-service import`.

    `imported_seconds` is the duration of the command, with the start of Python; `copied_seconds` the time until MySQL
    had every tweet. `tweets` exceeds `records`, because a repost includes its original.
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
        """Seconds from the end of the import until the copy was complete."""
        return self.copied_seconds - self.imported_seconds


def measure(_options: Options) -> Report:
    """Import into a separate stack, and compare every row of both stores.

    Raises `MeasurementError` or `StackError`.
    """
    with running_stack() as stack:
        print_progress(f"importing {RECORDS} records …")
        figures = measure_import(stack.addresses, stack.configuration.state)
        print_progress("comparing every row of both stores …")
        _run(SYNC, "reconcile", "--route", "tweets", **variables_of_sync(stack.addresses))
    print_progress(f"MySQL had all {figures.tweets} tweets {figures.lag_seconds:.2f} s after the import had ended")
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
    """Generate a dataset, import it into a running stack, and wait for the copy.

    The stack, with these `addresses`, must have no imported tweets. Raises `MeasurementError` if tweets don't arrive.
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
        output = (done.stderr or done.stdout).strip()
        raise MeasurementError(f"{program.name} {arguments[0]} exited with {done.returncode}: {output}")


async def _copied(mysql_root_url: str, tweets: int) -> float:
    """Wait until MySQL has so many imported tweets. Return the time."""
    engine = create_engine(mysql_root_url)
    count = text("SELECT COUNT(*) FROM tweets.tweets WHERE author_id LIKE 'imported:%'")
    deadline = time.perf_counter() + _TIMEOUT_SECONDS
    try:
        while True:
            async with engine.connect() as connection:
                found = (await connection.execute(count)).scalar_one()
            now = time.perf_counter()
            if found >= tweets:
                return now
            if now > deadline:
                raise MeasurementError(f"MySQL has {found} of {tweets} imported tweets after {_TIMEOUT_SECONDS:.0f} s")
            await asyncio.sleep(_POLL_SECONDS)
    finally:
        await engine.dispose()
