"""Detects partitions that make no progress. Pure.

A consumer can stop silently, and a write can hang. So the watchdog observes whether events are applied, not the state
of a task.
"""

import time
from collections.abc import Callable, Mapping

from aiokafka import TopicPartition

from sync_service.kafka.progress import Progress


class Watchdog:
    """`clock` returns seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since: dict[TopicPartition, tuple[int, float]] = {}
        self._excused: dict[TopicPartition, float] = {}

    def observe(self, partitions: Mapping[TopicPartition, Progress]) -> None:
        """Observe the assigned partitions, and forget the others."""
        now = self._clock()
        former, self._since = self._since, {}
        for partition, progress in partitions.items():
            done, since = former.get(partition, (progress.done, now))
            progresses = progress.lag == 0 or progress.done != done
            self._since[partition] = (progress.done, now if progresses else since)
        self._excused = {each: when for each, when in self._excused.items() if each in self._since}

    def excuse(self, *partitions: TopicPartition) -> None:
        """These partitions (all if none is given) wait for a dependency: until now this process is not at fault."""
        now = self._clock()
        self._excused.update(dict.fromkeys(partitions or self._since, now))

    def stalled_seconds(self, partition: TopicPartition) -> float:
        """For how many seconds events have waited and none was applied."""
        _, since = self._since.get(partition, (0, self._clock()))
        return self._clock() - since

    def stuck(self, seconds: float) -> dict[TopicPartition, float]:
        """The partitions without progress for at least this time, and for how long."""
        standing = {partition: self.stalled_seconds(partition) for partition in self._since}
        return {partition: stalled for partition, stalled in standing.items() if stalled >= seconds}

    def stuck_without_excuse(self, seconds: float) -> dict[TopicPartition, float]:
        """The partitions without progress for at least this time, during which no dependency was at fault."""
        now = self._clock()
        return {
            partition: stalled
            for partition, stalled in self.stuck(seconds).items()
            if now - self._excused.get(partition, float("-inf")) >= seconds
        }
