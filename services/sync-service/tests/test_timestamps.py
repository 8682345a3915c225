"""Timestamps of records: missing, in the future, or outside of the calendar."""

from datetime import UTC, datetime

import pytest

from sync_service.timestamps import EARLIEST_MS, age_seconds, to_datetime

NOW_MS = 1795490254088.0


@pytest.mark.parametrize(
    ("timestamp_ms", "age"),
    [
        (int(NOW_MS) - 1500, 1.5),
        (int(NOW_MS), 0.0),
        (int(NOW_MS) + 3_600_000, 0.0),
        (2**63 - 1, 0.0),
        (-1, None),
        (0, None),
        (1795490254, None),  # in seconds
        (EARLIEST_MS, (NOW_MS - EARLIEST_MS) / 1000),
    ],
)
def test_age(timestamp_ms: int, age: float | None) -> None:
    assert age_seconds(timestamp_ms, NOW_MS) == age


def test_timestamp_becomes_a_datetime() -> None:
    assert to_datetime(1795490254088) == datetime(2026, 11, 24, 3, 17, 34, 88000, tzinfo=UTC)
    assert [to_datetime(wrong).year for wrong in (-1, -(2**63), 2**63 - 1)] == [1970] * 3
