"""The types of a measurement, and the loop that takes one inside this process.

It needs only the standard library, because the peers' environments import it, too.
"""

import statistics
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

# CPU use of other programs below this doesn't affect a measurement.
QUIET_CORES = 0.1


class MeasurementError(Exception):
    """The measurement failed; the message says why in one sentence."""


@dataclass(frozen=True)
class Options:
    """`seconds`: duration of one measurement; `rounds`: measurements of each case.

    If other programs use the CPU, a measurement is repeated up to `tries` times, and the least disturbed one counts.
    """

    seconds: float
    rounds: int
    tries: int = 1


@dataclass(frozen=True)
class Measurement:
    """The result of one period of load.

    `cpu_ms` is the CPU time of the measured program per response, without its database; `complaint` quotes the first of
    `errors`.
    """

    per_second: float
    p50_ms: float
    p99_ms: float
    cpu_ms: float | None = None
    errors: int = 0
    complaint: str = ""


@dataclass(frozen=True)
class Sample:
    """The measurement of `subject` in `case` and `round` (from 1); other programs used `foreign_cores` meanwhile."""

    case: str
    subject: str
    round: int
    measurement: Measurement
    foreign_cores: float = 0.0


def foreign_cores(samples: Sequence[Sample]) -> float:
    """Return the average number of cores that other programs used during these samples."""
    return statistics.mean(sample.foreign_cores for sample in samples)


def repeat(work: Callable[[], object], seconds: float, threads: int = 1) -> Measurement:
    """Repeat `work` for `seconds` in so many threads. Raises the first exception of `work`."""
    durations: list[list[float]] = [[] for _ in range(threads)]
    failures: list[BaseException] = []
    began, cpu_began = time.perf_counter(), time.process_time()
    deadline = began + seconds

    def loop(own: list[float]) -> None:
        try:
            before = time.perf_counter()
            while before < deadline:
                work()
                after = time.perf_counter()
                own.append(after - before)
                before = after
        except Exception as error:  # noqa: BLE001 - raised below, in the caller's thread
            failures.append(error)

    workers = [threading.Thread(target=loop, args=(own,)) for own in durations]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    if failures:
        raise failures[0]
    elapsed, cpu = time.perf_counter() - began, time.process_time() - cpu_began
    done = sorted(duration for own in durations for duration in own)
    return Measurement(
        per_second=len(done) / elapsed,
        p50_ms=1000 * statistics.median(done),
        p99_ms=1000 * done[int(0.99 * (len(done) - 1))],
        cpu_ms=1000 * cpu / len(done),
    )
