"""The command `tweet-service import`: files, messages and exit codes."""

import contextlib
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from pymongo.errors import PyMongoError

from service_kit.mongodb import MongodbAddress
from service_kit.retry import Backoff, Retrier
from service_kit.settings import EnvironmentSettings
from tweet_service.importing.models import Tally
from tweet_service.importing.progress import Progress
from tweet_service.importing.reading import Source
from tweet_service.importing.rejects import Rejects
from tweet_service.importing.repository import ImportRepository, OvertakenError, connect, is_temporary
from tweet_service.importing.service import Importer
from tweet_service.indexes import INDEXES

INTERRUPTED = 128 + signal.SIGINT
# A database that has just been started does not answer yet.
_STARTUP = Retrier(on=is_temporary, backoff=Backoff(initial=0.5, maximum=0.5), timeout=15.0)


class ImportSettings(EnvironmentSettings):
    """An import needs only the database."""

    mongodb_url: MongodbAddress


def import_dataset(path: Path, rejects_path: Path | None, batch_size: int, settings: ImportSettings) -> int:
    """Import a file and print the result. Returns the exit code.

    0: all valid records are stored; 1: there was no valid record, or the import failed; 130: the import was interrupted
    and can be continued.
    """
    rejects_path = rejects_path or path.with_name(f"{path.name}.rejects.ndjson")
    try:
        if rejects_path.exists() and rejects_path.samefile(path):
            return _fail("the rejects can't be written to the dataset itself")
        with Source(path) as source, connect(settings.mongodb_url.get_secret_value()) as client:
            repository = ImportRepository(client, source.digest(), path.name)
            _STARTUP.run_blocking(lambda: repository.prepare(INDEXES))
            return _import(source, repository, rejects_path, batch_size)
    except OSError as error:
        return _fail(f"{error.filename or path}: {error.strerror or error}")
    except OvertakenError:
        return _fail("another process has taken over the import of this file")
    except PyMongoError as error:
        return _fail(f"MongoDB {'does not answer' if is_temporary(error) else 'refuses'}: {_short(error)}")


def _import(source: Source, repository: ImportRepository, rejects_path: Path, batch_size: int) -> int:
    state = repository.begin()
    started, before = time.monotonic(), Tally(**state["tally"])
    if state["done"]:
        print(f"Continuing after the first {state['done']:,} records.")
    progress = Progress(sys.stderr, source.size)
    with _stop_signals() as stop, Rejects(rejects_path, keep_bytes=state["rejects_bytes"]) as rejects:
        importer = Importer(source, repository, rejects=rejects, progress=progress, stop=stop, batch_size=batch_size)
        tally = importer.run(state)
    seconds = time.monotonic() - started
    rate = (tally.records - before.records) / seconds
    print(f"{tally.records:,} records; {seconds:.1f} s, {rate:,.0f} records a second")
    for name, number in tally.as_document().items():
        remark = f"   see {rejects_path}" if name == "rejected" and number else ""
        remark = "   tweets inside these records, reposted or quoted" if name == "originals" else remark
        print(f"  {name:<9}{number:>12,}{remark}")
    if not importer.is_complete:
        print("Interrupted. Run the same command again to continue.")
        return INTERRUPTED
    if tally.records == tally.rejected:
        return _fail("the file contains no valid record")
    return 0


def _fail(reason: str) -> int:
    print(f"error: {reason}", file=sys.stderr)
    return 1


def _short(error: PyMongoError) -> str:
    """The message without the state of every server that the driver knows."""
    return str(error).split(" (configured", 1)[0].split(", full error", 1)[0]


@contextlib.contextmanager
def _stop_signals() -> Iterator[threading.Event]:
    """An event that SIGINT (Ctrl-C) and SIGTERM set. The second signal ends the process immediately."""
    stop = threading.Event()

    def request_stop(number: int, _frame: FrameType | None) -> None:
        stop.set()
        signal.signal(number, signal.SIG_DFL)

    previous = {number: signal.signal(number, request_stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
