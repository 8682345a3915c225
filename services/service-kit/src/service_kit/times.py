"""Times as text."""

from datetime import UTC, datetime


def rfc3339(time: datetime) -> str:
    """Format a time as RFC 3339 in UTC with microseconds: `2026-01-31T12:00:00.000000Z`."""
    return time.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
