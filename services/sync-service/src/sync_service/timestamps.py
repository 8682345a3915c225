"""How old something is by its timestamp, which others wrote by clocks of their own. Pure.

A record of an old producer has the timestamp -1, one of a wrong clock any other (KIP-32).
"""

from datetime import UTC, datetime

# No change event is older than Kafka.
EARLIEST_MS = int(datetime(2011, 1, 1, tzinfo=UTC).timestamp() * 1000)
_EPOCH = datetime.fromtimestamp(0, UTC)


def age_seconds(timestamp_ms: int, now_ms: float) -> float | None:
    """None if the timestamp can't be true; 0 if it is in the future."""
    return max(0.0, now_ms - timestamp_ms) / 1000 if timestamp_ms >= EARLIEST_MS else None


def to_datetime(timestamp_ms: int) -> datetime:
    """The epoch if the timestamp is no moment of the calendar."""
    try:
        return datetime.fromtimestamp(max(0, timestamp_ms) / 1000, UTC)
    except (OverflowError, OSError, ValueError):
        return _EPOCH
