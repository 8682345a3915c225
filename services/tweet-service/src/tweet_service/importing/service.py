"""The import: reads and maps a batch while the previous one is being written."""

import itertools
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TypeVar

from pymongo.errors import PyMongoError

from service_kit.retry import Backoff, Cancelled, Retrier
from tweet_service.importing.mapping import SourceTweet, Unusable, content_of, digest_of, read_tweet
from tweet_service.importing.models import ImportDocument, Tally
from tweet_service.importing.planning import Item
from tweet_service.importing.progress import Progress
from tweet_service.importing.reading import Record, Source
from tweet_service.importing.rejects import Rejects
from tweet_service.importing.repository import ImportRepository, is_conflict, is_temporary

ResultT = TypeVar("ResultT")

DEFAULT_BATCH = 1000
# A batch ends with the record that reaches it: a thousand records of `MAX_RECORD_BYTES` would be 16 GiB.
MAX_BATCH_BYTES = 32 * 1024 * 1024
_BACKOFF = Backoff(initial=0.02, maximum=2.0)


@dataclass(slots=True)
class Batch:
    """The records after number `after` up to number `done`, in order; `items` contains each tweet once."""

    after: int
    done: int
    items: list[Item] = field(default_factory=list)
    rejected: list[tuple[Record, str]] = field(default_factory=list)


class Importer:
    """One import of a file. `stop` may be set at any time; the batch that is being written is finished."""

    def __init__(
        self,
        source: Source,
        repository: ImportRepository,
        *,
        rejects: Rejects,
        progress: Progress,
        stop: threading.Event,
        batch_size: int = DEFAULT_BATCH,
    ) -> None:
        self._source = source
        self._repository = repository
        self._rejects = rejects
        self._progress = progress
        self._stop = stop
        self._batch_size = batch_size
        self._retrier = Retrier(on=is_temporary, backoff=_BACKOFF, on_failure=self._report_failure)
        # Whether every record has been processed.
        self.is_complete = False

    def run(self, state: ImportDocument) -> Tally:
        """Import the records that are not `done` yet. Returns the tally of all records, including earlier runs.

        Raises `OvertakenError`, `PyMongoError` (if a retry can't help), `OSError`.
        """
        tally = Tally(**state["tally"])
        with ThreadPoolExecutor(1, "import-writer") as writer:
            writing: Future[Tally] | None = None
            batches = batches_of(self._source, state["done"], self._batch_size, datetime.now(UTC))
            try:
                while not self._stop.is_set():
                    batch = next(batches, None)
                    if writing is not None:
                        tally = writing.result()
                        writing = None
                    if batch is None:
                        self._persist(self._repository.finish)
                        self.is_complete = True
                        break
                    if not self._stop.is_set():
                        writing = writer.submit(self._store, batch)
                    self._progress.show(self._source.consumed, tally)
                if writing is not None:
                    tally = writing.result()
            except Cancelled:
                pass
        self._progress.show(self._source.consumed, tally, is_last=True)
        return tally

    def _store(self, batch: Batch) -> Tally:
        # Written once, before the batch is stored: the next run truncates what an interrupted run has written.
        rejects_bytes = self._rejects.write(batch.rejected)
        return self._persist(
            lambda: self._repository.store(
                batch.items,
                after=batch.after,
                done=batch.done,
                rejected=len(batch.rejected),
                rejects_bytes=rejects_bytes,
            )
        )

    def _persist(self, write: Callable[[], ResultT]) -> ResultT:
        """Retry while MongoDB is down: an election must not make a long import start again. Raises `Cancelled`."""
        return self._retrier.run_blocking(write, self._stop)

    def _report_failure(self, error: Exception, _delay: float) -> None:
        if isinstance(error, PyMongoError) and not is_conflict(error) and not self._stop.is_set():
            self._progress.say(f"MongoDB does not answer ({type(error).__name__}); retrying")


def batches_of(source: Source, done: int, size: int, now: datetime) -> Iterator[Batch]:
    """The records after the first `done`. Those are read too, because a later record may be a duplicate of one."""
    lines: dict[int, int] = {}
    records = enumerate(source.records(), 1)
    for _number, record in itertools.islice(records, done):
        try:
            _require_first(read_tweet(record, now), record, lines)
        except Unusable:
            continue
    while numbered := _take(records, size):
        yield _batch(numbered, lines, now)


def _take(records: Iterator[tuple[int, Record]], size: int) -> list[tuple[int, Record]]:
    """The next records of a batch: `size`, or fewer if they are long."""
    taken, taken_bytes = [], 0
    for numbered in itertools.islice(records, size):
        taken.append(numbered)
        taken_bytes += len(numbered[1].raw)
        if taken_bytes >= MAX_BATCH_BYTES:
            break
    return taken


def _batch(numbered: list[tuple[int, Record]], lines: dict[int, int], now: datetime) -> Batch:
    batch = Batch(after=numbered[0][0] - 1, done=numbered[-1][0])
    tweets: dict[int, SourceTweet] = {}
    for _number, record in numbered:
        try:
            tweet = _require_first(read_tweet(record, now), record, lines)
        except Unusable as error:
            batch.rejected.append((record, str(error)))
        else:
            tweets[tweet.id] = tweet
    originals = {each.id: each for tweet in tweets.values() for each in tweet.originals if each.id not in tweets}
    batch.items = [
        *(_item(tweet, is_original=False) for tweet in tweets.values()),
        *(_item(tweet, is_original=True) for tweet in originals.values()),
    ]
    return batch


def _require_first(tweet: SourceTweet, record: Record, lines: dict[int, int]) -> SourceTweet:
    """Record the line of a tweet. Raises `Unusable` if an earlier record has its id."""
    if tweet.id in lines:
        raise Unusable(f"id: duplicate of line {lines[tweet.id]}")
    lines[tweet.id] = record.line
    return tweet


def _item(tweet: SourceTweet, *, is_original: bool) -> Item:
    content = content_of(tweet)
    return Item(tweet, content, digest_of(content), is_original=is_original)
