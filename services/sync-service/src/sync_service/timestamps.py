"""The age of records by their timestamps, which producers set by their own clocks. Pure.

A record of an old producer has the timestamp -1, and a wrong clock can set any other one (KIP-32).
"""

from datetime import UTC, datetime

# No change event is older than Kafka.
EARLIEST_MS = int(datetime(2011, 1, 1, tzinfo=UTC).timestamp() * 1000)
_EPOCH = datetime.fromtimestamp(0, UTC)


def age_seconds(timestamp_ms: int, now_ms: float) -> float | None:
    """None if the timestamp is invalid; 0 if it is in the future."""
    return max(0.0, now_ms - timestamp_ms) / 1000 if timestamp_ms >= EARLIEST_MS else None


def to_datetime(timestamp_ms: int) -> datetime:
    """The Unix epoch if the timestamp is outside of the calendar."""
    try:
        return datetime.fromtimestamp(max(0, timestamp_ms) / 1000, UTC)
    except (OverflowError, OSError, ValueError):
        return _EPOCH
