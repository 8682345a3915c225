"""Times of MySQL's columns as numbers. That Debezium writes them so is shown by `test_conversions.py`."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync_service.debezium.errors import UnfitValue
from sync_service.routes.config import Route
from sync_service.routes.converters import FieldType, convert
from sync_service.routes.json_values import time_text
from sync_service.routes.mapping import map_fields, map_key

EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - as a driver returns it
MYSQL_DAYS = st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59, 999_999))  # noqa: DTZ001
MYSQL_TIMES = st.timedeltas(-timedelta(hours=839) + timedelta.resolution, timedelta(hours=839) - timedelta.resolution)


MONGODB = {"store": "mongodb", "collection": "x"}
MYSQL = {"store": "mysql", "table": "x"}
EPOCHS: Mapping[str, Any] = {
    "date": "1970-01-01",
    "datetime": datetime(1970, 1, 1, tzinfo=UTC),
}


def route(field_type: FieldType, target: Mapping[str, str] = MONGODB, **options: Any) -> Route:
    key, field = ("_id" if target is MONGODB else "id"), {"type": field_type, **options}
    declared = {"name": "x", "topic": "x", "target": target, "key": {key: "integer"}, "fields": {"x": field}}
    return Route.model_validate(declared)


def copied(field_type: FieldType, value: Any, **options: Any) -> Any:
    """The value in a collection."""
    return map_fields(route(field_type, **options), {"x": value})["x"]


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
        ("datetime", 0, "x: a int that is no datetime: it is 1970-01-01, which Debezium writes for a zero date, too"),
        ("datetime", 20_781, "x: a int that is no datetime: it is a DATE"),  # days, of a DATE
        ("datetime", 10**18, "x: a int that is no datetime"),
        ("date", 0, "x: a int that is no date: it is 1970-01-01, which Debezium writes for a zero date, too"),
        (
            "date",
            "1970-01-01Z",
            "x: a str that is no date: it is 1970-01-01, which Debezium writes for a zero date, too",
        ),
        ("datetime", "1970-01-01Z", "x: a str that is no datetime: it is 1970-01-01, which Debezium"),
        ("datetime", "1970-01-01T00:00:00Z", "x: a str that is no datetime: it is 1970-01-01, which Debezium"),
        ("datetime", "1970-01-01T00:00:00.000000Z", "x: a str that is no datetime: it is 1970-01-01, which Debezium"),
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


@pytest.mark.parametrize(
    ("field_type", "value"),
    [("date", 0), ("date", "1970-01-01Z"), ("datetime", 0), ("datetime", "1970-01-01T00:00:00Z")],
)
def test_first_day_of_1970_is_copied_from_a_column_without_zero_dates(field_type: FieldType, value: Any) -> None:
    assert copied(field_type, value, zero_dates=False) == EPOCHS[field_type]
    with pytest.raises(UnfitValue, match="if the column has none, declare zero_dates: false"):
        copied(field_type, value)


def test_number_that_may_be_a_day_is_no_moment_of_a_column_without_zero_dates_either() -> None:
    with pytest.raises(UnfitValue, match="it is a DATE"):
        copied("datetime", 20_781, zero_dates=False)


def test_key_is_refused_as_a_field_is() -> None:
    declared = {"name": "x", "topic": "x", "target": MONGODB, "fields": {}}
    refusing = Route.model_validate({**declared, "key": {"_id": {"from": "day", "type": "date"}}})
    with pytest.raises(UnfitValue, match="it is 1970-01-01"):
        map_key(refusing, {"day": "1970-01-01Z"})
    taking = Route.model_validate({**declared, "key": {"_id": {"from": "day", "type": "date", "zero_dates": False}}})
    assert map_key(taking, {"day": "1970-01-01Z"}) == ("1970-01-01",)


@pytest.mark.parametrize("field_type", ["string", "integer", "time"])
def test_zero_dates_are_of_dates_and_moments(field_type: FieldType) -> None:
    with pytest.raises(ValueError, match="zero_dates is for date and datetime"):
        route(field_type, zero_dates=False)


def test_zero_dates_are_of_mysql() -> None:
    assert map_fields(route("date", MYSQL), {"x": datetime(1970, 1, 1, tzinfo=UTC)}) == {"x": "1970-01-01"}
    with pytest.raises(ValueError, match="x: zero_dates is for rows of MySQL"):
        route("date", MYSQL, zero_dates=False)


@pytest.mark.parametrize("field_type", ["date", "datetime", "time"])
def test_number_of_a_document_is_no_time(field_type: FieldType) -> None:
    with pytest.raises(UnfitValue):
        convert(5, field_type)


def test_text_of_a_connector_without_the_setting_is_taken_as_before() -> None:
    assert copied("date", "2026-11-24Z") == "2026-11-24"
    assert copied("datetime", "2026-11-24T01:02:03.5Z") == datetime(2026, 11, 24, 1, 2, 3, 500_000, tzinfo=UTC)
    assert copied("time", "13:14:15.5Z") == "13:14:15.500000"
