"""`routes.yaml` and the mapping that it declares."""

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from sync_service.events.problems import MissingKey, UnfitValue
from sync_service.routes.loading import InvalidRoutes, default_routes_file, load_routes
from sync_service.routes.mapping import map_fields, map_key
from sync_service.routes.types import FieldType, convert

ROUTE = """
things:
  topic: cdc.mysql.shop.things
  target: {store: mongodb, collection: things}
  key: {_id: {from: id, type: integer}}
  fields:
    label: {from: name, type: string}
    price: decimal
    origin: {constant: shop}
"""


def routes_file(folder: Path, text: str) -> Path:
    file = folder / "routes.yaml"
    file.write_text(text)
    return file


def test_built_in_routes_are_valid() -> None:
    routes = {route.name: route for route in load_routes(default_routes_file())}
    assert routes["users"].topic == "cdc.mysql.auth.users"
    assert routes["tweets"].target.name == "tweets"
    assert (routes["users"].tombstones, routes["tweets"].tombstones) == ("keep", "purge")


def test_fields_are_renamed_typed_and_filled_with_constants(tmp_path: Path) -> None:
    (route,) = load_routes(routes_file(tmp_path, ROUTE))
    row = {"id": 7, "name": "chair", "price": "9.50", "secret": "never mapped"}
    assert map_key(route, row) == (7,)
    assert map_fields(route, row) == {"label": "chair", "price": Decimal("9.50"), "origin": "shop"}


def test_field_that_the_row_lacks_is_null(tmp_path: Path) -> None:
    (route,) = load_routes(routes_file(tmp_path, ROUTE))
    assert map_fields(route, {"id": 7}) == {"label": None, "price": None, "origin": "shop"}


def test_missing_key_and_unfit_value_say_so(tmp_path: Path) -> None:
    (route,) = load_routes(routes_file(tmp_path, ROUTE))
    with pytest.raises(MissingKey):
        map_key(route, {"name": "chair"})
    with pytest.raises(UnfitValue, match="label: a int that is no string"):
        map_fields(route, {"id": 7, "name": 5})


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (("topic: cdc.mysql.shop.things", ""), "topic"),
        (("store: mongodb, collection: things", "store: redis, collection: things"), "store|target"),
        (("price: decimal", "price: money"), "price"),
        (("price: decimal", "price: {from: x}"), "either a type"),
        (("price: decimal", "_sync: decimal"), "sync"),
        (("_id: {from: id, type: integer}", "id: integer"), "_id"),
        (("type: integer", "type: json"), "single values"),
        (("price: decimal", "_id: string"), "both key and field"),
        (("store: mongodb, collection: things", "store: mysql, table: 'a`b'"), "table"),
        (("topic:", "unknown: 1\n  topic:"), "unknown"),
        (("topic:", "tombstones: burn\n  topic:"), "tombstones"),
    ],
)
def test_wrong_route_is_explained_in_one_line(tmp_path: Path, change: tuple[str, str], complaint: str) -> None:
    file = routes_file(tmp_path, ROUTE.replace(*change))
    with pytest.raises(InvalidRoutes, match=complaint) as raised:
        load_routes(file)
    assert "\n" not in str(raised.value)
    assert "things" in str(raised.value)


@pytest.mark.parametrize("text", ["", "[]", "a: {", "a: 1"])
def test_file_that_holds_no_routes_is_explained(tmp_path: Path, text: str) -> None:
    with pytest.raises(InvalidRoutes):
        load_routes(routes_file(tmp_path, text))


def test_two_routes_to_one_copy_are_refused(tmp_path: Path) -> None:
    other = ROUTE.replace("things:\n", "others:\n", 1).replace("shop.things", "shop.others")
    with pytest.raises(InvalidRoutes, match="same target"):
        load_routes(routes_file(tmp_path, ROUTE + other))


@pytest.mark.parametrize(
    ("value", "type_", "meant"),
    [
        (1, "boolean", True),
        (False, "boolean", False),
        (5.0, "integer", 5),
        (5, "number", 5.0),
        (0.1, "decimal", Decimal("0.1")),
        ("2026-11-24T03:17:34.081894Z", "datetime", datetime(2026, 11, 24, 3, 17, 34, 81894, tzinfo=UTC)),
        ("2026-11-24T04:17:34+01:00", "datetime", datetime(2026, 11, 24, 3, 17, 34, tzinfo=UTC)),
        (
            {"at": datetime(2026, 11, 24, tzinfo=UTC), "n": [Decimal("1.5"), b"\x00"]},
            "json",
            {"at": "2026-11-24T00:00:00.000000Z", "n": ["1.5", "AA=="]},
        ),
        ('{"a": [1]}', "json_text", {"a": [1]}),
        (None, "string", None),
    ],
)
def test_values_become_what_the_type_says(value: object, type_: FieldType, meant: object) -> None:
    assert convert(value, type_) == meant


@pytest.mark.parametrize(
    ("value", "type_"),
    [
        (1, "string"),
        ("1", "integer"),
        (True, "integer"),
        (1.5, "integer"),
        (2, "boolean"),
        ("yes", "boolean"),
        ("soon", "datetime"),
        (5, "datetime"),
        ("x", "decimal"),
        ("NaN", "decimal"),
        ("{", "json_text"),
        ("NaN", "json_text"),
        ("[" * 5000, "json_text"),
        (Decimal("NaN"), "number"),
        (Decimal("1E+400"), "number"),
        ([], "number"),
    ],
)
def test_values_that_do_not_fit_are_refused(value: object, type_: FieldType) -> None:
    with pytest.raises(UnfitValue):
        convert(value, type_)
