"""Rounds of measurements: each round measures everything once, in an order that is turned around from one to the next,
so that drift hits all alike."""

from collections.abc import Callable, Sequence

from benchmarks.environment import say
from benchmarks.machine import ForeignLoad
from benchmarks.measurement import QUIET_CORES, Measurement, Options, Sample, foreign_cores
from benchmarks.report import Subject

# Who does what, and how to measure it.
Step = tuple[Subject, Callable[[], Measurement]]


def in_rounds(options: Options, compared: Sequence[Sequence[Step]]) -> list[Sample]:
    """Each element of `compared` is what is measured one behind the other."""
    samples = []
    for number in range(1, options.rounds + 1):
        for steps in compared:
            samples += _quietest(options, number, steps if number % 2 else steps[::-1])
    return samples


def _quietest(options: Options, number: int, steps: Sequence[Step]) -> list[Sample]:
    tries: list[list[Sample]] = []
    while not tries or (len(tries) < options.tries and foreign_cores(tries[-1]) > QUIET_CORES):
        tries.append([_sample(options, number, subject, step) for subject, step in steps])
    return min(tries, key=foreign_cores)


def _sample(options: Options, number: int, subject: Subject, step: Callable[[], Measurement]) -> Sample:
    others = ForeignLoad()
    sample = Sample(*subject, number, step(), others.cores())
    progress = f"round {number}/{options.rounds}   {sample.case:<12} {sample.contender:<10}"
    disturbance = f"   (others took {sample.foreign_cores:.1f} cores)" if sample.foreign_cores > QUIET_CORES else ""
    say(f"{progress} {sample.measurement.per_second:>9.1f} per second{disturbance}")
    return sample
