"""Which changes of a source column's type no longer fit a route."""

from typing import Any

import pytest

from sync_service.routes.config import Route
from sync_service.sinks.mysql.type_fit import comparable_type, misfit


def reason(declared: Any, now: str, former: str | None = None) -> str | None:
    route = Route.model_validate(
        {
            "name": "things",
            "topic": "cdc.shop.things",
            "target": {"store": "mongodb", "collection": "things"},
            "key": {"_id": {"from": "id", "type": "integer"}},
            "fields": {"value": declared},
        }
    )
    conversion = route.fields["value"].mapped("value", route.target, is_variable=True).conversion
    assert conversion is not None
    return misfit(comparable_type(now), conversion, None if former is None else comparable_type(former))


PRICE = {"type": "decimal", "precision": 10, "scale": 2}


# The types of docs/conversions.md, and some that also take every value.
@pytest.mark.parametrize(
    ("column", "declared"),
    [
        ("tinyint", "integer"),
        ("tinyint(1)", "boolean"),
        ("tinyint(1)", "integer"),
        ("int unsigned", "integer"),
        ("int unsigned", "unsigned"),
        ("int", "number"),
        ("int", "decimal"),
        ("bigint", "integer"),
        ("bigint unsigned", "unsigned"),
        ("float", "number"),
        ("double", "number"),
        ("float", "decimal"),
        ("decimal(10,2)", PRICE),
        ("decimal(8,2) unsigned", PRICE),
        ("decimal(34,4)", "decimal"),
        ("decimal(40,2)", "string"),
        ("bit(1)", "boolean"),
        ("bit(64)", "bits"),
        ("char(36)", "string"),
        ("varchar(20)", {"type": "string", "hash": True}),
        ("varchar(20)", {"type": "string", "mask": True}),
        ("varchar(20)", "text"),
        ("longtext", "text"),
        ("enum('a','b''c')", "string"),
        ("set('x','y')", "string"),
        ("binary(16)", "binary"),
        ("mediumblob", "binary"),
        ("date", "date"),
        ("date", "datetime"),
        ("datetime", "datetime"),
        ("datetime(6)", "string"),
        ("timestamp(3)", "datetime"),
        ("time(6)", "time"),
        ("year", "integer"),
        ("json", "json_text"),
        ("vector(2)", "json"),
        ("varchar(5)", "json"),
        ("a_type_of_the_future", "integer"),
    ],
)
def test_values_of_a_column_fit(column: str, declared: Any) -> None:
    assert reason(declared, column) is None


@pytest.mark.parametrize(
    ("now", "declared", "why"),
    [
        ("bigint unsigned", "integer", "a Decimal that is no integer: it is beyond 64 bits with a sign"),
        ("bigint unsigned", "json", "a Decimal that json misreads"),
        ("int", "unsigned", "a int that unsigned misreads"),
        ("int", "string", "a int that is no string"),
        ("int", "datetime", "a int that "),
        ("int", "date", "a int that "),
        ("int", PRICE, "more than 8 digits before the point"),
        ("bigint", "number", "a double can't hold it exactly"),
        ("int", "boolean", "a int that is no boolean"),
        ("decimal(12,2)", PRICE, "more than 8 digits before the point"),
        ("decimal(10,3)", PRICE, "more than 2 digits after the point"),
        ("decimal(40,0)", "decimal", "BSON has no decimals of so many digits"),
        ("decimal(10,2)", "integer", "a str that is no integer"),
        ("decimal(10,2)", "number", "a str that is no number"),
        ("double", "integer", "a float that is no integer"),
        ("double", PRICE, "after the point"),
        ("bit(8)", "string", "a str that string misreads"),
        ("bit(1)", "integer", "a bool that is no integer"),
        ("varchar(20)", PRICE, "a str that is no decimal"),
        ("varchar(20)", "boolean", "a str that is no boolean"),
        ("varchar(20)", "json_text", "it is not JSON"),
        ("varbinary(20)", "string", "a str that string misreads"),
        ("datetime", "date", "a str that is no date"),
        ("datetime", "integer", "a str that is no integer"),
        ("date", "number", "a str that is no number"),
        ("time", "datetime", "a str that is no datetime"),
        ("point", "json", "spatial values are not copied"),
    ],
)
def test_values_of_a_column_do_not_fit(now: str, declared: Any, why: str) -> None:
    found = reason(declared, now)
    assert found is not None
    assert why in found


@pytest.mark.parametrize(
    ("former", "now", "declared", "fits"),
    [
        ("char(36)", "varchar(36)", "uuid", True),
        ("char(36)", "int", "uuid", False),
        ("tinyint", "smallint", "boolean", True),
        ("datetime", "datetime(6)", "integer", True),
        ("int", "datetime", "integer", False),
        ("double", "decimal(10,2)", "integer", False),
        ("varchar(10)", "varchar(500)", PRICE, True),
    ],
)
def test_what_did_not_fit_before_in_the_same_way_is_known_to_fit(
    former: str, now: str, declared: Any, *, fits: bool
) -> None:
    assert (reason(declared, now, former) is None) == fits
