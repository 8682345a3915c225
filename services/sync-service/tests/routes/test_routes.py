"""`routes.yaml` and the mapping that it declares."""

import json
from contextlib import nullcontext
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from bson import Decimal128, ObjectId
from pydantic import ValidationError

from support.change_events import mysql_event
from sync_service.debezium.errors import MissingKey, UnfitValue
from sync_service.routes.check import static_findings
from sync_service.routes.config import Route
from sync_service.routes.converters import FieldType, convert
from sync_service.routes.explain import NotAnEvent, explain_event
from sync_service.routes.loader import InvalidRoutes, default_routes_file, load_routes
from sync_service.routes.mapping import map_event_key, map_fields, map_key
from sync_service.sinks.base import UnfitTable
from sync_service.sinks.mysql.ddl import (
    SOURCE_ID_TYPE,
    VERSION_COLUMNS,
    ExistingTable,
    column_type,
    missing,
    rows_of,
)
from sync_service.sinks.mysql.grants import missing_grants

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


@pytest.mark.parametrize("declared", ["sources: {}", "sources:\n  mysql: {kind: mysql}"])
def test_file_that_declares_its_sources_may_have_no_routes_yet(tmp_path: Path, declared: str) -> None:
    assert load_routes(routes_file(tmp_path, declared)) == []


@pytest.mark.parametrize("truncated", ["", "# sources: {}", "sources:", "sources: []"])
def test_file_without_routes_and_sources_is_refused(tmp_path: Path, truncated: str) -> None:
    with pytest.raises(InvalidRoutes, match=r"no routes in it|sources is not a mapping"):
        load_routes(routes_file(tmp_path, truncated))


def test_null_field_is_null(tmp_path: Path) -> None:
    (route,) = load_routes(routes_file(tmp_path, ROUTE))
    assert map_fields(route, {"id": 7, "name": None, "price": None}) == {"label": None, "price": None, "origin": "shop"}


def test_row_of_mysql_without_a_routed_column_is_refused_by_its_name(tmp_path: Path) -> None:
    """Renamed or dropped: the copy would get NULL over a good value."""
    (route,) = load_routes(routes_file(tmp_path, ROUTE))
    with pytest.raises(UnfitValue, match="label: the source row has no column name"):
        map_fields(route, {"id": 7, "price": None, "title": "chair"})


@pytest.mark.parametrize("default", ["chair", None])
def test_row_of_mysql_may_lack_a_column_whose_field_has_a_default(tmp_path: Path, default: str | None) -> None:
    with_default = f"{{from: name, type: string, default: {json.dumps(default)}}}"
    (route,) = load_routes(routes_file(tmp_path, ROUTE.replace("{from: name, type: string}", with_default)))
    assert map_fields(route, {"id": 7, "price": None})["label"] == default


def test_document_may_lack_any_field() -> None:
    route = mysql_route({"name": "string", "city": {"from": "address.city", "type": "string"}})
    assert map_fields(route, {"_id": 1}) == {"name": None, "city": None}


def test_key_that_leaves_out_a_column_of_the_source_s_key_is_refused(tmp_path: Path) -> None:
    (route,) = load_routes(routes_file(tmp_path, ROUTE))
    assert map_event_key(route, {"id": 7}) == (7,)
    with pytest.raises(MissingKey, match="does not take tenant into its key"):
        map_event_key(route, {"tenant": "a", "id": 7})


def test_missing_key_and_unfit_value_are_reported(tmp_path: Path) -> None:
    (route,) = load_routes(routes_file(tmp_path, ROUTE))
    with pytest.raises(MissingKey):
        map_key(route, {"name": "chair"})
    with pytest.raises(UnfitValue, match="label: a int that is no string"):
        map_fields(route, {"id": 7, "name": 5, "price": None})


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (("topic: cdc.mysql.shop.things", ""), "topic"),
        (("store: mongodb, collection: things", "store: redis, collection: things"), "store|target"),
        (("price: decimal", "price: money"), "price"),
        (("price: decimal", "price: {from: x}"), "either a type"),
        (("price: decimal", "_sync: decimal"), "sync"),
        (("_id: {from: id, type: integer}", "id: integer"), "_id"),
        (("type: integer", "type: json"), "json is no type of a key: use a field of the document"),
        (("type: integer", "type: bits"), "bits is no type of a key in a collection"),
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


@pytest.mark.parametrize(
    ("topic", "reason"),
    [
        ("cdc.mysql.shop.order items", "Debezium writes _ for each other character: cdc.mysql.shop.order_items"),
        ("cdc.mysql.shop.größe/x", "Debezium writes _ for each other character: cdc.mysql.shop.gr__e_x"),
        ("x" * 250, "at most 249 characters, and this one has 250"),
        ("..", "'..' can't be the name of a topic"),
        ("''", "'' can't be the name of a topic"),
    ],
)
def test_topic_that_kafka_refuses_is_explained(tmp_path: Path, topic: str, reason: str) -> None:
    file = routes_file(tmp_path, ROUTE.replace("cdc.mysql.shop.things", topic))
    with pytest.raises(InvalidRoutes, match=r"routes\.yaml:3: route things: topic: ") as raised:
        load_routes(file)
    assert reason in str(raised.value)
    legal = routes_file(tmp_path, ROUTE.replace("cdc.mysql.shop.things", f"A-0_.{'x' * 244}"))
    assert len(load_routes(legal)[0].topic) == 249


@pytest.mark.parametrize("text", ["", "[]", "a: {", "a: 1"])
def test_file_without_routes_is_explained(tmp_path: Path, text: str) -> None:
    with pytest.raises(InvalidRoutes):
        load_routes(routes_file(tmp_path, text))


def in_database(name: str) -> tuple[str, str]:
    return "store: mongodb, collection: things", f"store: mongodb, database: {name}, collection: things"


ORDERS = """
orders:
  topic: cdc.mongo.shop.orders
  target: {store: mysql, database: DATABASE, table: orders}
  key: {id: {from: _id, type: integer}}
  fields: {}
"""


@pytest.mark.parametrize("name", ["admin", "Local", "config", '"a.b"', '""', "x" * 64])
def test_database_that_is_none_for_copies_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidRoutes, match=r"routes\.yaml:4: route things: target.*database"):
        load_routes(routes_file(tmp_path, ROUTE.replace(*in_database(name))))


@pytest.mark.parametrize("name", ["mysql", "sys", "information_schema", "performance_schema"])
def test_database_of_mysql_itself_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidRoutes, match=f"{name} is a database of the server itself"):
        load_routes(routes_file(tmp_path, ORDERS.replace("DATABASE", name)))


@pytest.mark.parametrize(("things", "orders"), [("Shop", "copies"), ("copies", "shop")])
def test_copy_in_a_database_that_a_connector_reads_is_refused(tmp_path: Path, things: str, orders: str) -> None:
    both = ROUTE.replace(*in_database(things)) + ORDERS.replace("DATABASE", orders)
    with pytest.raises(InvalidRoutes, match=r"reads the database [Ss]hop, so no copy may be in it: .*[Ss]hop_copy"):
        load_routes(routes_file(tmp_path, both))


SHOP_IN_MONGODB = """
orders:
  topic: cdc.mongo.shop.orders
  target: {store: mysql, table: orders}
  key: {id: {from: _id, type: integer}}
  fields: {}
"""


def test_copy_in_the_default_database_is_warned_of_if_a_connector_reads_it(tmp_path: Path) -> None:
    """Such is a routes.yaml of release 0.1.0: it stays valid, and its copies stay where they are."""
    routes = load_routes(routes_file(tmp_path, ROUTE + SHOP_IN_MONGODB))
    assert all(route.target.database is None for route in routes)
    assert static_findings(routes, "copies") == []
    (finding,) = static_findings(routes, "shop")
    assert (finding.route, finding.field, finding.is_doubt) == ("things", "target", True)
    assert "the copy is in shop, and the connector of route orders reads every change of the copy" in finding.reason
    assert "Add `database: shop_copy`" in finding.reason
    (finding,) = static_findings(routes)
    assert "in the database of MONGODB_URL" in finding.reason
    assert "if it reads that database" in finding.reason
    assert static_findings(routes[:1]) == []
    assert static_findings(load_routes(default_routes_file()), "tweets") == []


def test_only_one_of_two_targets_of_one_name_with_a_database_is_refused(tmp_path: Path) -> None:
    """The other would be taken for the place that the copy moves from."""
    other = ROUTE.replace("things:", "others:").replace("shop.things", "market.things").replace(*in_database("market"))
    with pytest.raises(InvalidRoutes, match="route things has a target of the same name as route others"):
        load_routes(routes_file(tmp_path, ROUTE + other))


RIGHTS = "SELECT, INSERT, UPDATE, DELETE, CREATE, DROP, REFERENCES, INDEX, ALTER, CREATE VIEW, SHOW VIEW"


@pytest.mark.parametrize(
    ("granted", "lacking"),
    [
        (f"GRANT {RIGHTS} ON `shop_copy`.* TO `s`@`%`", []),
        (f"GRANT {RIGHTS} ON `shop\\_copy`.* TO `s`@`%`", []),
        (f"GRANT {RIGHTS} ON `shop%`.* TO `s`@`%`", []),
        ("GRANT ALL PRIVILEGES ON *.* TO `s`@`%` WITH GRANT OPTION", []),
        (f"GRANT {RIGHTS} ON `shop\\_other`.* TO `s`@`%`", ["GRANT SELECT, INSERT, "]),
        # With another pattern, which replaces the former one.
        (f"GRANT {RIGHTS[8:]} ON `shop_copy`.* TO `s`@`%`", ["GRANT SELECT, INSERT, UPDATE, "]),
    ],
)  # fmt: skip
def test_missing_rights_in_a_database_are_a_statement(granted: str, lacking: list[str]) -> None:
    shown = ["GRANT USAGE ON *.* TO `s`@`%`", "GRANT SELECT ON `auth`.`users` TO `s`@`%`", granted]
    found = missing_grants(shown, ["shop_copy"])
    assert len(found) == len(lacking)
    assert all(map(str.startswith, found.values(), lacking))


def test_copies_of_one_name_in_two_databases_are_allowed(tmp_path: Path) -> None:
    other = ROUTE.replace("things:", "others:").replace("cdc.mysql.shop.things", "cdc.mysql.market.things")
    both = ROUTE.replace(*in_database("shop")) + other.replace(*in_database("market"))
    assert [route.target.place for route in load_routes(routes_file(tmp_path, both))] == [
        "shop.things",
        "market.things",
    ]


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
def test_values_are_converted_to_the_type(value: object, type_: FieldType, meant: object) -> None:
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


@pytest.mark.parametrize(
    ("value", "type_", "meant"),
    [
        (ObjectId("6b062191ec766319070cef51"), "string", "6b062191ec766319070cef51"),
        (datetime(2026, 11, 24, 3, 17), "datetime", datetime(2026, 11, 24, 3, 17, tzinfo=UTC)),  # noqa: DTZ001
        (date(2026, 11, 24), "date", "2026-11-24"),
        (timedelta(hours=-1, seconds=1), "time", "-00:59:59"),
        ("-838:59:59", "time", "-838:59:59"),
        (Decimal128("1.50"), "decimal", Decimal("1.50")),
        (Decimal(7), "integer", 7),
        (-1, "unsigned", Decimal(2**64 - 1)),
        (Decimal128(str(2**64 - 1)), "unsigned", Decimal(2**64 - 1)),
        (b"\x08\x01", "bits", 2049),
        ("AQg=", "bits", 2049),
        (b"\x01", "boolean", True),
        ("0000-00-00 00:00:00", "datetime", None),
    ],
)
def test_values_of_drivers_are_converted_alike(value: object, type_: FieldType, meant: object) -> None:
    assert convert(value, type_) == meant


NESTED = """
orders:
  topic: cdc.mongo.shop.orders
  target: {store: mysql, table: orders}
  key:
    shop: {from: _id.shop, type: string}
    number: {from: _id.number, type: integer}
  fields:
    city: {from: user.address.city, type: string, default: nowhere}
    dotted: {from: [user, first.name], type: string}
    price: {type: decimal, precision: 6, scale: 2, default: 0}
    lines: json
  drop: [user.email, note]
"""


def test_paths_read_nested_documents_and_defaults_replace_missing_values(tmp_path: Path) -> None:
    (route,) = load_routes(routes_file(tmp_path, NESTED))
    row = {
        "_id": {"shop": "a", "number": 7},
        "user": {"address": {"city": "Łódź"}, "first.name": "Ada"},
        "price": Decimal("9.50"),
        "lines": [{"sku": ObjectId("6b062191ec766319070cef51")}],
    }
    assert map_key(route, row) == ("a", 7)
    assert map_fields(route, row) == {
        "city": "Łódź",
        "dotted": "Ada",
        "price": Decimal("9.50"),
        "lines": [{"sku": "6b062191ec766319070cef51"}],
    }
    nothing = {"city": "nowhere", "dotted": None, "price": Decimal(0), "lines": None}
    assert map_fields(route, {}) == nothing
    assert map_fields(route, {"user": {"address": None}, "price": None}) == nothing


def test_zero_date_is_replaced_by_the_default() -> None:
    route = mysql_route(
        {"day": {"type": "date", "default": "2026-01-01"}, "tags": {"type": "json_text", "default": "[]"}}
    )
    assert map_fields(route, {"day": "0000-00-00", "tags": "null"}) == {"day": "2026-01-01", "tags": []}


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ({"user": "Ada"}, "city: what should hold 'address' is a str and no document"),
        ({"price": "12345.00"}, "price: .*more than 4 digits before the point"),
        ({"price": "1.005"}, "price: .*more than 2 digits after the point"),
    ],
)
def test_error_of_an_unfit_value_names_the_field_and_not_the_value(
    tmp_path: Path, row: dict[str, object], complaint: str
) -> None:
    (route,) = load_routes(routes_file(tmp_path, NESTED))
    with pytest.raises(UnfitValue, match=complaint) as raised:
        map_fields(route, row)
    assert not any(str(value) in str(raised.value) for value in row.values())


@pytest.mark.parametrize(
    ("written", "fits"),
    [
        (f"-{'9' * 35}.{'9' * 30}", True),
        (f"1{'0' * 35}", False),
        (f"0.{'0' * 29}1{'0' * 20}", True),
        (f"0.{'0' * 30}1", False),
        ("0E-90", True),
        ("1E+34", True),
        ("1E+35", False),
    ],
)
def test_decimal_of_a_table_has_as_many_digits_as_mysql_has(written: str, fits: bool) -> None:
    route = mysql_route({"n": "decimal"})
    if fits:
        assert map_fields(route, {"n": written}) == {"n": Decimal(written)}
    else:
        with pytest.raises(UnfitValue, match="n: a str that is no decimal: it has more than"):
            map_fields(route, {"n": written})


def test_key_of_several_fields_is_one_document_in_a_collection(tmp_path: Path) -> None:
    text = ROUTE.replace("{_id: {from: id, type: integer}}", "{shop: string, number: integer}")
    (route,) = load_routes(routes_file(tmp_path, text))
    (key,) = map_key(route, {"shop": "a", "number": 7})
    assert key == {"shop": "a", "number": 7}
    assert {key: "found"}[map_key(route, {"number": 7, "shop": "a"})[0]] == "found"
    with pytest.raises(MissingKey, match="number"):
        map_key(route, {"shop": "a"})


def test_all_mistakes_are_reported_with_their_lines(tmp_path: Path) -> None:
    file = routes_file(
        tmp_path,
        "a:\n  topic: t\n  topic: u\n  target: {store: mysql, table: x}\n  key: {id: integer}\n  fields:\n"
        "    price: money\n    at: {constant: 2026-01-01}\n    n: {type: integer, default: many}\n"
        "b:\n  topic: u\n  target: {store: mysql, table: y}\n  key: {id: json}\n  fields: {}\n"
        "c:\n  topic: v\n  target: {store: mysql, table: z}\n  key: {id: integer}\n  fields: {x: text}\n  drop: [x]\n"
        "d:\n  topic: v\n  target: {store: mysql, table: w}\n  key: {id: integer}\n  fields: {}\n"
        "e:\n  topic: v\n  target: {store: mysql, table: w}\n  key: {id: integer}\n  fields: {}\n",
    )
    with pytest.raises(InvalidRoutes) as raised:
        load_routes(file)
    parsed = [problem.removeprefix(f"{file}:") for problem in raised.value.problems]
    wanted = [
        "3: topic occurs twice, first on line 2",
        "7: route a: fields.price.type: Input should be",
        "8: route a: fields.at: a constant can't be a date",
        "9: route a: fields.n: default: a str that is no integer",
        "10: route b: id: json is no type of a key: use a field of the document, by from",
        "15: route c: both copied and dropped: x",
        "27: route e has the same topic as route d",
        "28: route e has the same target as route d",
    ]
    assert len(parsed) == len(wanted), parsed
    for problem, beginning in zip(parsed, wanted, strict=True):
        assert problem.startswith(beginning)


def mysql_route(fields: dict[str, object], key: dict[str, object] | None = None) -> Route:
    return Route.model_validate(
        {
            "name": "things",
            "topic": "t",
            "target": {"store": "mysql", "table": "things"},
            "key": key or {"id": {"type": "string", "length": 24}},
            "fields": fields,
        }
    )


def test_tables_have_the_columns_that_the_sink_writes() -> None:
    written = ("sync_event", "sync_epoch", "sync_position", "sync_operation", "sync_deleted_at")
    assert tuple(VERSION_COLUMNS) == written


def test_table_that_keeps_deleted_rows_shows_them_with_the_time_of_the_delete() -> None:
    route = mysql_route({"name": "string"}).model_copy(update={"deletes": "keep-row"})
    create, view = missing(route, {})
    assert "sync_kept TINYINT(1) NOT NULL DEFAULT 0" in create
    assert view == (
        "CREATE OR REPLACE VIEW `things` AS SELECT `id`, `name`, sync_deleted_at AS `deleted_at` FROM `things_copy` "
        "WHERE sync_deleted_at IS NULL OR sync_kept"
    )
    own = (*VERSION_COLUMNS, "sync_source_id", "sync_kept")
    copy, shown = existing("id", "name", *own, key="id"), existing("id", "name", "mine", "deleted_at", key=None)
    assert missing(route, {"things_copy": copy, "things": shown}) == []
    back = mysql_route({"name": "string"})
    (view,) = missing(back, {"things_copy": copy, "things": shown})
    assert view.endswith("AS SELECT `id`, `name`, `mine` FROM `things_copy` WHERE sync_deleted_at IS NULL")


def test_field_with_the_name_of_the_time_of_the_delete_is_refused() -> None:
    with pytest.raises(ValidationError, match="deleted_at is the time of the delete with deletes: keep-row"):
        Route.model_validate(
            {"name": "things", "topic": "t", "target": {"store": "mysql", "table": "things"}, "deletes": "keep-row",
             "key": {"id": "integer"}, "fields": {"Deleted_At": "string"}}
        )  # fmt: skip


def test_missing_table_is_created_with_its_view() -> None:
    create, view = missing(mysql_route({"name": "string", "kind": {"constant": 5}}), {})
    assert "`id` VARCHAR(24) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL" in create
    assert "`name` VARCHAR(255),\n  `kind` BIGINT,\n  sync_event" in create
    assert "PRIMARY KEY (`id`)" in create
    assert "UNIQUE" not in create
    assert view.startswith("CREATE OR REPLACE VIEW `things` AS SELECT `id`, `name`, `kind` FROM `things_copy`")


def test_table_in_a_database_of_its_own_is_created_there() -> None:
    route = mysql_route({"name": "string"})
    target = route.target.model_copy(update={"database": "shop_copy"})
    create, view = missing(route.model_copy(update={"target": target}), {})
    assert create.startswith("CREATE TABLE `shop_copy`.`things_copy` (")
    assert view.startswith("CREATE OR REPLACE VIEW `shop_copy`.`things` AS SELECT `id`, `name` FROM `shop_copy`.")


def existing(*columns: str, key: str | None) -> ExistingTable:
    """A table whose columns have any type that fits; a view without a key."""
    return ExistingTable(dict.fromkeys(columns, "varchar(255)"), [key] if key else [], is_view=key is None)


def test_existing_table_gets_missing_columns_and_keeps_the_others() -> None:
    copy = existing("id", "Name", "mine", *VERSION_COLUMNS, key="id")
    view = existing("id", "mine", key=None)
    statements = missing(mysql_route({"name": "string", "price": "decimal"}), {"things_copy": copy, "things": view})
    shown = "SELECT `id`, `mine`, `name`, `price` FROM `things_copy` WHERE sync_deleted_at IS NULL"
    assert statements == [
        f"ALTER TABLE `things_copy` ADD COLUMN `price` DECIMAL(65,30), ADD COLUMN `sync_source_id` {SOURCE_ID_TYPE}",
        f"CREATE OR REPLACE VIEW `things` AS {shown}",
    ]


@pytest.mark.parametrize(
    ("there", "complaint"),
    [
        ({"things": existing("id", key="id")}, "table things is in the way"),
        ({"things_copy": existing("id", key=None)}, "view things_copy is in the way"),
        ({"things_copy": existing("id", key="id")}, "lacks sync_event"),
        ({"things_copy": existing("x", *VERSION_COLUMNS, key="x")}, r"primary key \(x\)"),
    ],
)
def test_table_that_is_no_copy_is_not_changed(there: dict[str, ExistingTable], complaint: str) -> None:
    with pytest.raises(UnfitTable, match=complaint):
        missing(mysql_route({}), there)


def test_column_that_would_round_values_is_named_with_its_remedy() -> None:
    columns = {"id": "varchar(24)", "price": "decimal(10,2)", **dict.fromkeys(VERSION_COLUMNS, "varchar(80)")}
    table = ExistingTable(columns, ["id"], is_view=False)
    wider = {"price": {"type": "decimal", "precision": 12, "scale": 4}}
    with pytest.raises(UnfitTable, match=r"column price of table things_copy is DECIMAL\(10,2\)") as error:
        missing(mysql_route(wider), {"things_copy": table})
    assert "ALTER TABLE `things_copy` MODIFY `price` DECIMAL(12,4)" in str(error.value)


def explained(tmp_path: Path, parsed: object) -> tuple[str, bool]:
    explanation = explain_event(json.dumps(parsed), load_routes(routes_file(tmp_path, ROUTE)))
    return str(explanation), explanation.is_applicable


def thing_event(**row: object) -> dict[str, Any]:
    key, value = mysql_event({"id": 7, "name": "chair", **row})
    assert value is not None
    parsed: dict[str, Any] = json.loads(value)
    parsed["source"] |= {"db": "shop", "table": "things"}
    return {"key": json.loads(key), "value": parsed}


def test_explain_accepts_every_form_of_an_event(tmp_path: Path) -> None:
    event = thing_event(price="9.50", secret="x")
    inspected = {"topic": "cdc.mysql.shop.things", "partition": 0, "key": event["key"], **event["value"]}
    for parsed in (event, event["value"], {**event, "value": json.dumps(event["value"])}, inspected):
        text, is_applicable = explained(tmp_path, parsed)
        assert is_applicable
        assert "things: cdc.mysql.shop.things → mongodb things" in text
        assert "create" in text
        assert '{"_id": 7}' in text
        assert '{"label": "chair", "price": "9.50", "origin": "shop"}' in text
        assert "not copied  secret" in text
        assert "position    00000000000000000100@" in text
        assert "epoch       mysql-gtid:" in text


def test_explain_says_why_an_event_would_be_a_dead_letter(tmp_path: Path) -> None:
    text, is_applicable = explained(tmp_path, thing_event(price="cheap"))
    assert not is_applicable
    assert "dead letter UnfitValue: price: a str that is no decimal" in text
    event = thing_event()
    event["value"]["op"] = "t"
    text, is_applicable = explained(tmp_path, event)
    assert not is_applicable
    assert "Truncated: TRUNCATE TABLE" in text
    event = thing_event()
    event["value"] = "[" * 5000
    text, is_applicable = explained(tmp_path, event)
    assert not is_applicable
    assert "InvalidEvent: value: not JSON" in text
    event = thing_event()
    event["value"]["source"]["table"] = "others"
    text, is_applicable = explained(tmp_path, event)
    assert (text, is_applicable) == ("no route    no route reads topic cdc.mysql.shop.others", False)


def test_explain_reads_a_deletion_and_a_tombstone(tmp_path: Path) -> None:
    event = thing_event()
    event["value"] |= {"op": "d", "before": {"id": 7}, "after": None}
    text, is_applicable = explained(tmp_path, event)
    assert is_applicable
    assert "a tombstone is left" in text
    text, is_applicable = explained(tmp_path, {"key": {"id": 7}, "value": None})
    assert is_applicable
    assert "ignored" in text


@pytest.mark.parametrize("written", ["{", "[]", "{}", '{"value": 5}', "[" * 5000])
def test_explain_of_an_invalid_event_is_one_sentence(tmp_path: Path, written: str) -> None:
    with pytest.raises(NotAnEvent):
        explain_event(written, [])


def shared(folder: Path, first: str, second: str) -> list[Route]:
    return load_routes(
        routes_file(
            folder,
            f"""
berlin:
  topic: cdc.mysql-berlin.shop.products
  target: {{store: mongodb, collection: products}}
  {first}
lodz:
  topic: cdc.mysql-lodz.shop.products
  target: {{store: mongodb, collection: products}}
  {second}
""",
        )
    )


def test_routes_share_a_copy_by_a_constant_part_of_the_key(tmp_path: Path) -> None:
    berlin, lodz = shared(
        tmp_path,
        "key: {shop: {constant: berlin}, sku: string}\n  fields: {name: string}",
        "key: {shop: {constant: lodz}, sku: {from: code, type: string}}\n  fields: {name: {from: title, type: string}}",
    )
    assert map_event_key(berlin, {"sku": "chair"}) == ({"shop": "berlin", "sku": "chair"},)
    assert map_event_key(lodz, {"code": "chair"}) == ({"shop": "lodz", "sku": "chair"},)
    assert static_findings([berlin, lodz], "elsewhere") == []


@pytest.mark.parametrize(
    ("first", "second", "complaint"),
    [
        ("{shop: {constant: a}, sku: string}", "{shop: {constant: a}, sku: string}", "give both a constant"),
        ("{shop: {constant: a}, sku: string}", "{shop: string, sku: string}", "give both a constant"),
        ("{shop: {constant: a}, sku: string}", "{shop: {constant: b}, code: string}", "their key must have the same"),
        (
            "{shop: {constant: a}, sku: string}",
            "{shop: {constant: 1}, sku: string}",
            "key.shop must have the same type",
        ),
        ("{shop: {constant: [a]}, sku: string}", "{shop: {constant: b}, sku: string}", "an integer or a short text"),
        ("{shop: {constant: a}}", "{shop: {constant: b}, sku: string}", "a constant can't tell rows apart"),
    ],
)
def test_routes_that_can_not_share_a_copy_are_refused(tmp_path: Path, first: str, second: str, complaint: str) -> None:
    with pytest.raises(InvalidRoutes, match=complaint):
        shared(tmp_path, f"key: {first}\n  fields: {{}}", f"key: {second}\n  fields: {{}}")


@pytest.mark.parametrize(
    ("first", "second", "complaint"),
    [
        ("string", "text", "fields.name must have the same type"),
        ("{constant: a}", "string", "fields.name must have the same type"),
        ("{constant: a}", "text", None),
        ("{constant: 1}", "integer", None),
    ],
)
def test_routes_that_share_a_copy_have_columns_of_the_same_types(
    tmp_path: Path, first: str, second: str, complaint: str | None
) -> None:
    key = "key: {{shop: {{constant: {}}}, sku: string}}\n  fields: {{name: {}}}"
    with nullcontext() if complaint is None else pytest.raises(InvalidRoutes, match=complaint):
        berlin, lodz = shared(tmp_path, key.format("a", first), key.format("b", second))
        # The same types in MySQL.
        assert column_type(berlin.fields["name"]) == column_type(lodz.fields["name"])


def test_constant_of_a_key_is_a_text_of_sql_also_if_it_is_empty() -> None:
    route = mysql_route({}, {"shop": {"constant": ""}, "city": {"constant": "łódź'"}, "id": "integer"})
    assert rows_of(route) == "`shop` = _utf8mb4 X'' AND `city` = _utf8mb4 X'c582c3b364c5ba27'"


def test_routes_that_share_a_copy_have_the_same_options(tmp_path: Path) -> None:
    key = "key: {{shop: {{constant: {}}}, sku: string}}\n  fields: {{}}"
    with pytest.raises(InvalidRoutes, match="deletes must be the same in both"):
        shared(tmp_path, key.format("a"), key.format("b") + "\n  deletes: keep-row")
