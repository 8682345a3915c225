"""Times in responses."""

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from pydantic import BaseModel

from service_kit.schemas import UtcDatetime


class Body(BaseModel):
    at: UtcDatetime


@pytest.mark.parametrize(
    "time",
    [
        datetime(2026, 1, 31, 12),  # noqa: DTZ001 - as a database driver returns it
        datetime(2026, 1, 31, 12, tzinfo=UTC),
        datetime(2026, 1, 31, 14, tzinfo=timezone(timedelta(hours=2))),
    ],
)
def test_times_are_written_in_utc_with_microseconds(time: datetime) -> None:
    assert json.loads(Body(at=time).model_dump_json()) == {"at": "2026-01-31T12:00:00.000000Z"}
