"""Which partitions do not get on. Pure.

A consumer can stop silently, and a write can hang: what is watched is whether events get done, not what a
task reports.
"""

import time
from collections.abc import Callable, Mapping

from aiokafka import TopicPartition

from sync_service.kafka.progress import Progress


class Watchdog:
    """`clock` gives seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since: dict[TopicPartition, tuple[int, float]] = {}
        self._excused: dict[TopicPartition, float] = {}

    def observe(self, partitions: Mapping[TopicPartition, Progress]) -> None:
        """Take note of the partitions that this process has now, and forget the others."""
        now = self._clock()
        former, self._since = self._since, {}
        for partition, progress in partitions.items():
            done, since = former.get(partition, (progress.done, now))
            gets_on = progress.lag == 0 or progress.done != done
            self._since[partition] = (progress.done, now if gets_on else since)
        self._excused = {each: when for each, when in self._excused.items() if each in self._since}

    def excuse(self, *partitions: TopicPartition) -> None:
        """These stand because of a dependency (all, if none is named): until now it was not this process's fault."""
        now = self._clock()
        self._excused.update(dict.fromkeys(partitions or self._since, now))

    def stalled_seconds(self, partition: TopicPartition) -> float:
        """For how many seconds events have waited and none was done."""
        _, since = self._since.get(partition, (0, self._clock()))
        return self._clock() - since

    def stuck(self, seconds: float) -> dict[TopicPartition, float]:
        """Those that have stood for so long or longer, and for how long."""
        standing = {partition: self.stalled_seconds(partition) for partition in self._since}
        return {partition: stood for partition, stood in standing.items() if stood >= seconds}

    def stuck_without_excuse(self, seconds: float) -> dict[TopicPartition, float]:
        """Those that have stood for so long or longer, of which nothing was a dependency's fault."""
        now = self._clock()
        return {
            partition: stood
            for partition, stood in self.stuck(seconds).items()
            if now - self._excused.get(partition, float("-inf")) >= seconds
        }
