"""Rounds of measurements. Each round measures everything once. Every other round measures what is compared in reverse
order, so that drift affects all subjects equally."""

from collections.abc import Callable, Sequence

from benchmarks.environment import print_progress
from benchmarks.machine import ForeignLoad
from benchmarks.measurement import QUIET_CORES, Measurement, Options, Sample, foreign_cores
from benchmarks.report import SampleKey

# A case and subject, and the function that measures it.
Step = tuple[SampleKey, Callable[[], Measurement]]


def in_rounds(options: Options, compared: Sequence[Sequence[Step]]) -> list[Sample]:
    """Measure all steps in each round. The steps of one element of `compared` run directly after each other."""
    samples = []
    for number in range(1, options.rounds + 1):
        for steps in compared:
            samples += _quietest(options, number, steps if number % 2 else steps[::-1])
    return samples


def _quietest(options: Options, number: int, steps: Sequence[Step]) -> list[Sample]:
    tries: list[list[Sample]] = []
    while not tries or (len(tries) < options.tries and foreign_cores(tries[-1]) > QUIET_CORES):
        tries.append([_sample(options, number, key, step) for key, step in steps])
    return min(tries, key=foreign_cores)


def _sample(options: Options, number: int, key: SampleKey, step: Callable[[], Measurement]) -> Sample:
    others = ForeignLoad()
    sample = Sample(*key, number, step(), others.cores())
    progress = f"round {number}/{options.rounds}   {sample.case:<12} {sample.subject:<10}"
    disturbance = (
        f"   (other programs used {sample.foreign_cores:.1f} cores)" if sample.foreign_cores > QUIET_CORES else ""
    )
    print_progress(f"{progress} {sample.measurement.per_second:>9.1f} per second{disturbance}")
    return sample
