"""Which partitions count as stuck."""

from aiokafka import TopicPartition

from sync_service.kafka.progress import Progress
from sync_service.monitoring.watchdog import Watchdog

ONE, OTHER = TopicPartition("t", 0), TopicPartition("t", 1)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def looks(watchdog: Watchdog, clock: Clock, *looks: dict[TopicPartition, Progress]) -> None:
    """A look every ten seconds."""
    for look in looks:
        clock.now += 10
        watchdog.observe(look)


def test_partition_with_lag_and_the_same_offset_is_stuck() -> None:
    clock = Clock()
    watchdog = Watchdog(clock)
    looks(watchdog, clock, *({ONE: Progress(5, 9), OTHER: Progress(done, 99)} for done in range(4)))
    assert watchdog.stuck(30) == {ONE: 30}
    assert watchdog.stuck(31) == {}
    assert (watchdog.stalled_seconds(ONE), watchdog.stalled_seconds(OTHER)) == (30, 0)


def test_partition_without_lag_or_that_moves_is_not_stuck() -> None:
    clock = Clock()
    watchdog = Watchdog(clock)
    looks(watchdog, clock, *[{ONE: Progress(5, 5)}] * 9)
    assert watchdog.stuck(1) == {}
    # Events that come after a long silence have waited from now on.
    looks(watchdog, clock, {ONE: Progress(5, 6)})
    assert watchdog.stalled_seconds(ONE) == 10
    looks(watchdog, clock, {ONE: Progress(6, 7)})
    assert watchdog.stuck(1) == {}


def test_reassigned_partition_starts_again() -> None:
    clock = Clock()
    watchdog = Watchdog(clock)
    looks(watchdog, clock, {ONE: Progress(5, 9)}, {}, {ONE: Progress(5, 9)}, {ONE: Progress(5, 9)})
    assert watchdog.stalled_seconds(ONE) == 10


def test_lower_offset_is_a_replay_and_counts_as_progress() -> None:
    clock = Clock()
    watchdog = Watchdog(clock)
    looks(watchdog, clock, {ONE: Progress(5, 9)}, {ONE: Progress(0, 9)})
    assert watchdog.stuck(1) == {}


def test_time_with_a_stalled_dependency_does_not_count() -> None:
    clock = Clock()
    watchdog = Watchdog(clock)
    waits = {ONE: Progress(5, 9), OTHER: Progress(5, 9)}
    looks(watchdog, clock, *[waits] * 7)
    watchdog.excuse(ONE)
    looks(watchdog, clock, *[waits] * 2)
    assert watchdog.stuck(60) == {ONE: 80, OTHER: 80}
    assert watchdog.stuck_without_excuse(60) == {OTHER: 80}
    watchdog.excuse()
    assert watchdog.stuck_without_excuse(60) == {}
    looks(watchdog, clock, *[waits] * 6)
    assert watchdog.stuck_without_excuse(60) == {ONE: 140, OTHER: 140}
    # Of a partition that went elsewhere and came back, nothing is known.
    looks(watchdog, clock, {OTHER: Progress(5, 9)}, *[waits] * 7)
    assert watchdog.stuck_without_excuse(60) == {ONE: 60, OTHER: 220}
