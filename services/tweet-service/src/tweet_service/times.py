"""The current time with the precision of MongoDB."""

from datetime import UTC, datetime


def now_in_milliseconds() -> datetime:
    """The time as MongoDB stores it, so that the first response equals all later ones."""
    now = datetime.now(UTC)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)
