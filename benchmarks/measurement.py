"""What a measurement is, and the loop that takes one inside this process.

Needs nothing beyond the standard library: the peers' own environments import it too.
"""

import statistics
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

# Less than this disturbs nobody.
QUIET_CORES = 0.1


class MeasurementError(Exception):
    """One clear sentence about why nothing can be measured."""


@dataclass(frozen=True)
class Options:
    """`seconds` is the length of one measurement, `rounds` how often each is taken.

    What others disturb is measured up to `tries` times, and the quietest try is kept.
    """

    seconds: float
    rounds: int
    tries: int = 1


@dataclass(frozen=True)
class Measurement:
    """What came of one stretch of load.

    `cpu_ms` is the processor time that the measured program itself took for one answer, without its database's;
    `complaint` quotes the first of `errors`.
    """

    per_second: float
    p50_ms: float
    p99_ms: float
    cpu_ms: float | None = None
    errors: int = 0
    complaint: str = ""


@dataclass(frozen=True)
class Sample:
    """The measurement of `contender` in `case` and `round` (from 1); others took `foreign_cores` meanwhile."""

    case: str
    contender: str
    round: int
    measurement: Measurement
    foreign_cores: float = 0.0


def foreign_cores(samples: Sequence[Sample]) -> float:
    """How many cores others took while these were measured."""
    return statistics.mean(sample.foreign_cores for sample in samples)


def repeat(work: Callable[[], object], seconds: float, threads: int = 1) -> Measurement:
    """Do `work` over and over for `seconds` in so many threads. What it raises ends the measurement."""
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
        except Exception as error:  # noqa: BLE001 - a thread's exception is raised below, where it is heard
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
