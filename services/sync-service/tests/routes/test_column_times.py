"""Times of MySQL's columns as numbers. That Debezium writes them so is shown by `test_conversions.py`."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync_service.debezium.errors import UnfitValue
from sync_service.routes.config import Route
from sync_service.routes.converters import FieldType, convert
from sync_service.routes.json_values import time_text
from sync_service.routes.mapping import map_fields

EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - as a driver returns it
MYSQL_DAYS = st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59, 999_999))  # noqa: DTZ001
MYSQL_TIMES = st.timedeltas(-timedelta(hours=839) + timedelta.resolution, timedelta(hours=839) - timedelta.resolution)


def copied(field_type: FieldType, value: Any) -> Any:
    """The value in a collection."""
    target = {"store": "mongodb", "collection": "x"}
    declared = {"name": "x", "topic": "x", "target": target, "key": {"_id": "integer"}, "fields": {"x": field_type}}
    return map_fields(Route.model_validate(declared), {"x": value})["x"]


@given(MYSQL_DAYS)
def test_dates_and_moments_are_those_of_the_driver(moment: datetime) -> None:
    since = moment - EPOCH
    if since.days:
        assert copied("date", since.days) == copied("date", moment.date())
    if abs(since) > timedelta(seconds=3):
        assert copied("datetime", since // timedelta.resolution) == copied("datetime", moment)


@given(MYSQL_TIMES)
def test_times_of_any_sign_and_length_are_exact(duration: timedelta) -> None:
    assert copied("time", duration // timedelta.resolution) == time_text(duration)


@pytest.mark.parametrize(
    ("field_type", "value", "reason"),
    [
        ("datetime", 0, "x: a int that is no datetime: it is a DATE, which date copies, or about 1970-01-01 00:00:00"),
        ("datetime", 20_781, "x: a int that is no datetime: it is a DATE"),  # days, of a DATE
        ("datetime", 10**18, "x: a int that is no datetime"),
        ("datetime", "1970-01-01T00:00:00Z", "x: a str that is no datetime: it is 1970-01-01 00:00:00, which Debezium"),
        ("date", 0, "x: a int that is no date: it is 1970-01-01, which Debezium writes for a zero date, too"),
        ("date", -719_528, "x: a int that is no date"),  # the year 0
        ("time", 839 * 3600 * 10**6, "x: a int that is no time: it is longer"),
        ("date", True, "x: a bool that is no date"),
    ],
)
def test_value_that_is_no_time_or_may_be_a_zero_date_is_refused(
    field_type: FieldType, value: int | str, reason: str
) -> None:
    with pytest.raises(UnfitValue, match=reason):
        copied(field_type, value)


@pytest.mark.parametrize("field_type", ["date", "datetime", "time"])
def test_number_of_a_document_is_no_time(field_type: FieldType) -> None:
    with pytest.raises(UnfitValue):
        convert(5, field_type)


def test_text_of_a_connector_without_the_setting_is_taken_as_before() -> None:
    assert copied("date", "2026-11-24Z") == "2026-11-24"
    assert copied("datetime", "2026-11-24T01:02:03.5Z") == datetime(2026, 11, 24, 1, 2, 3, 500_000, tzinfo=UTC)
    assert copied("time", "13:14:15.5Z") == "13:14:15.500000"
