"""What `routes add` proposes for a table or collection, and where in the file."""

from pathlib import Path

import pytest
import yaml
from bson import Binary, Code, DatetimeMS, Decimal128, Int64, ObjectId, Regex

from sync_service.routes.loader import RoutesFile, default_routes_file, load_routes_file
from sync_service.routes.proposal import legal_name, propose_route, with_route
from sync_service.sinks.mongodb.grants import Account, commands_of_copies, commands_of_source
from sync_service.sinks.mongodb.proposal import bson_type
from sync_service.sinks.mysql.grants import grants_of_copies, grants_of_source
from sync_service.sinks.mysql.proposal import TableColumn, proposed_field
from sync_service.sinks.proposals import CannotPropose, DescribedSource, ProposedField

PRODUCTS = DescribedSource(
    "mysql",
    "shop",
    "products",
    [ProposedField(("sku",), "string", "varchar(20) not null")],
    [
        ProposedField(("price",), "decimal", "decimal(10,2)", {"precision": 10, "scale": 2}),
        ProposedField(("_id",), "string", "varchar(9)"),
        ProposedField(("sold at",), "datetime", "datetime"),
        ProposedField(("place",), None, "point: neither store has the other's geometry"),
        ProposedField(("sync_event",), "integer", "int"),
    ],
    "about 12 rows",
)
ORDERS = DescribedSource(
    "mongodb",
    "shop",
    "orders",
    [ProposedField(("_id",), "string", "objectId", {"length": 24})],
    [ProposedField(("total",), "number", "int 50 %, double 50 %"), ProposedField(("Total",), "text", "string")],
    "3 of about 3 documents were read",
)


@pytest.fixture(scope="module")
def file() -> RoutesFile:
    return load_routes_file(default_routes_file())


def test_route_of_a_table(file: RoutesFile) -> None:
    assert propose_route(PRODUCTS, file, ["shop"], declares_sources=True).text == (
        "products:  # mysql shop.products, about 12 rows\n"
        "  topic: cdc.mysql.shop.products\n"
        "  target: {database: shop_copy, store: mongodb, collection: products}\n"
        "  key:\n"
        "    _id: {from: sku, type: string}  # varchar(20) not null\n"
        "  fields:\n"
        "    price: {type: decimal, precision: 10, scale: 2}  # decimal(10,2)\n"
        "    source_id: {from: _id, type: string}  # varchar(9)\n"
        "    sold_at: {from: sold at, type: datetime}  # datetime\n"
        "    # not copied: place: point: neither store has the other's geometry\n"
        "    source_sync_event: {from: sync_event, type: integer}  # int\n"
    )


def test_route_of_a_collection_has_a_source_of_its_own(file: RoutesFile) -> None:
    added = propose_route(ORDERS, file, ["tweets"], declares_sources=True)
    assert added.text == (
        "sources:\n"
        "  mongodb-shop: {kind: mongodb, database: shop}\n"
        "\n"
        "orders:  # mongodb shop.orders, 3 of about 3 documents were read\n"
        "  topic: cdc.mongodb-shop.shop.orders\n"
        "  target: {database: shop, store: mysql, table: orders}\n"
        "  key:\n"
        "    id: {from: _id, type: string, length: 24}  # objectId\n"
        "  fields:\n"
        "    total: number  # int 50 %, double 50 %\n"
        # MySQL ignores the case of names.
        "    Total_2: {from: Total, type: text}  # string\n"
    )


def test_file_keeps_what_it_has(file: RoutesFile) -> None:
    text = default_routes_file().read_text(encoding="utf-8")
    added = propose_route(ORDERS, file, [], declares_sources=True)
    changed = with_route(text, added)
    assert changed.endswith(f"\n\n{added.declaration}")
    source = "  mongodb-shop: {kind: mongodb, database: shop}\n"
    assert changed.removesuffix(f"\n{added.declaration}").replace(source, "") == text
    assert list(yaml.safe_load(changed)["sources"]) == ["mysql-users", "mongodb-tweets", "mongodb-shop"]


def test_file_of_an_earlier_release_gets_the_built_in_sources(file: RoutesFile) -> None:
    text = "# mine\n\n# its route\nusers:\n  topic: cdc.mysql.auth.users\n"
    changed = with_route(text, propose_route(PRODUCTS, file, [], declares_sources=False))
    assert changed.startswith(
        "# mine\n\n"
        "sources:\n"
        "  mysql-users: {kind: mysql, topic_prefix: cdc.mysql, server_id: 5401}\n"
        "  mongodb-tweets: {kind: mongodb, database: tweets, topic_prefix: cdc.mongo}\n"
        "\n# its route\nusers:\n"
    )


def test_sources_in_one_line_are_left_to_their_author(file: RoutesFile) -> None:
    text = "sources: {mysql-users: {kind: mysql}}\nusers: {}\n"
    with pytest.raises(CannotPropose, match="write each source into a line of its own"):
        with_route(text, propose_route(ORDERS, file, [], declares_sources=True))


@pytest.mark.parametrize("empty", ["sources: {}\n", "# Mine.\n\nsources: {}  # none yet\n", "sources: { }"])
def test_first_route_of_a_file_without_any(empty: str, tmp_path: Path) -> None:
    path = tmp_path / "routes.yaml"
    path.write_text(empty)
    file = load_routes_file(path)
    assert (file.sources, file.routes) == ([], [])
    added = propose_route(PRODUCTS, file, ["shop"], declares_sources=True)
    changed = with_route(empty, added)
    path.write_text(changed)
    declared = load_routes_file(path)
    assert [each.name for each in declared.sources] == ["mysql"]
    assert [each.topic for each in declared.routes] == ["cdc.mysql.shop.products"]
    assert changed.startswith("# Mine.\n\nsources:  # none yet\n  mysql: {kind: mysql}\n") == ("Mine" in empty)
    # And another one after it.
    path.write_text(with_route(changed, propose_route(ORDERS, declared, ["shop"], declares_sources=True)))
    assert [each.name for each in load_routes_file(path).sources] == ["mysql", "mongodb-shop"]


def test_table_that_has_a_route_is_refused(file: RoutesFile) -> None:
    users = DescribedSource("mysql", "auth", "users", PRODUCTS.key, PRODUCTS.fields, "")
    with pytest.raises(CannotPropose, match=r"a route of auth\.users is there already"):
        propose_route(users, file, [], declares_sources=True)


def test_name_of_another_route_is_not_taken_again(file: RoutesFile) -> None:
    users = DescribedSource("mysql", "shop", "users", PRODUCTS.key, PRODUCTS.fields, "")
    assert propose_route(users, file, [], declares_sources=True).route.name == "shop_users"


@pytest.mark.parametrize(
    ("databases", "chosen"),
    [
        ([], "shop"),
        (["Shop"], "shop_copy"),
        (["shop", "shop_copy"], "shop_copy_2"),
        # This account does not see an application's database.
        (None, "shop_copy"),
    ],
)
def test_copy_is_in_no_database_of_an_application(file: RoutesFile, databases: list[str] | None, chosen: str) -> None:
    assert propose_route(PRODUCTS, file, databases, declares_sources=True).route.target.database == chosen


def test_copy_is_in_the_database_that_has_copies_of_its_source(file: RoutesFile) -> None:
    first = propose_route(PRODUCTS, file, [], declares_sources=True).route
    more = RoutesFile(file.sources, [*file.routes, first], file.captured)
    desks = DescribedSource("mysql", "shop", "desks", PRODUCTS.key, PRODUCTS.fields, "")
    for databases in (["shop"], None):
        assert propose_route(desks, more, databases, declares_sources=True).route.target.database == "shop"


@pytest.mark.parametrize("name", ["no", "Yes", "on", "null", "true", "~"])
def test_name_that_yaml_takes_for_another_value(file: RoutesFile, name: str) -> None:
    field = ProposedField((name,), "integer", "int")
    added = propose_route(
        DescribedSource("mysql", "shop", "no", PRODUCTS.key, [field], ""), file, [], declares_sources=True
    )
    assert [each.path or (copied,) for copied, each in added.route.fields.items()] == [(name,)]
    assert list(yaml.safe_load(added.declaration)) == ["no"]


def test_field_without_a_name_is_not_copied(file: RoutesFile) -> None:
    fields = [ProposedField(("",), "integer", "int")]
    added = propose_route(
        DescribedSource("mongodb", "shop", "t", ORDERS.key, fields, ""), file, [], declares_sources=True
    )
    assert added.route.fields == {}
    assert "  fields: {}\n    # not copied: : int\n" in added.declaration


def test_remark_is_one_line_of_comment(file: RoutesFile) -> None:
    field = ProposedField(("a\nb: 1",), "integer", "int\n# x")
    added = propose_route(
        DescribedSource("mysql", "shop", "t", PRODUCTS.key, [field], "x\ny"), file, [], declares_sources=True
    )
    assert list(yaml.safe_load(added.declaration)) == ["t"]
    assert added.route.fields["a_b__1"].path == ("a\nb: 1",)


@pytest.mark.parametrize(
    ("name", "legal"),
    [
        ("price", "price"),
        ("first name", "first_name"),
        ("2fa", "source_2fa"),
        ("sync_position", "source_sync_position"),
        ("_sync", "source__sync"),
        ("größe", "gr__e"),
        ("x" * 70, "x" * 59),
    ],
)
def test_name_in_the_copy(name: str, legal: str) -> None:
    assert legal_name(name) == legal


@pytest.mark.parametrize(
    ("column", "proposed"),
    [
        (TableColumn("c", "tinyint", "tinyint(1) unsigned", True, 3, 0, None, None), ("integer", {})),
        (TableColumn("c", "decimal", "decimal(40,2)", True, 40, 2, None, None), ("string", {})),
        (TableColumn("c", "date", "date", True, None, None, None, None), ("date", {"zero_dates": False})),
        (TableColumn("c", "date", "date", False, None, None, None, None), ("date", {})),
        # A date of MongoDB has milliseconds.
        (TableColumn("c", "datetime", "datetime(6)", True, None, None, 6, None), ("string", {})),
        (TableColumn("c", "datetime", "datetime(3)", False, None, None, 3, 1), ("datetime", {})),
        (TableColumn("c", "geometry", "geometry", True, None, None, None, None), (None, {})),
    ],
)
def test_type_of_a_column(column: TableColumn, proposed: tuple[str | None, dict[str, object]]) -> None:
    field = proposed_field(column)
    assert (field.type, field.options) == proposed


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (True, "bool"),
        (Int64(5), "int"),
        (1.5, "double"),
        (Decimal128("1"), "decimal"),
        (ObjectId(), "objectId"),
        (Binary(b"x" * 16, 4), "uuid"),
        (Binary(b"x", 5), "binData"),
        (b"x", "binData"),
        (None, "null"),
        ({}, "object"),
        ([], "array"),
        (Regex("x"), "other"),
        (Code("x"), "javascript"),
        (DatetimeMS(2**60), "date"),
    ],
)
def test_type_of_a_value(value: object, name: str) -> None:
    assert bson_type(value) == name


def test_rights_in_mysql() -> None:
    assert grants_of_source("shop", "a`b", ["debezium", "it's"]) == [
        "GRANT SELECT ON `shop`.`a``b` TO 'debezium'@'%'",
        "GRANT SELECT ON `shop`.`a``b` TO 'it''s'@'%'",
    ]
    (grant,) = grants_of_copies("shop_copy", "sync_service")
    assert grant.endswith("SHOW VIEW ON `shop\\_copy`.* TO 'sync_service'@'%'")


def test_rights_in_mongodb() -> None:
    sync = Account.of("mongodb://sync:p@host/tweets?authSource=admin")
    connector = Account.of("mongodb://debezium:p@host/tweets")
    assert (sync, connector) == (Account("sync", "admin"), Account("debezium", "tweets"))
    assert Account.of("mongodb://host/tweets") is None
    assert connector is not None
    assert sync is not None
    role, granted, read = map(str, commands_of_source("shop", connector, sync))
    assert role == (
        'db.getSiblingDB("admin").runCommand({"createRole": "debezium_of_shop", "privileges": [{"resource": '
        '{"db": "shop", "collection": "debezium_signals"}, "actions": ["insert", "update", "remove"]}], '
        '"roles": [{"role": "read", "db": "shop"}]})'
    )
    assert granted == (
        'db.getSiblingDB("tweets").runCommand({"grantRolesToUser": "debezium", "roles": '
        '[{"role": "debezium_of_shop", "db": "admin"}]})'
    )
    assert read == (
        'db.getSiblingDB("admin").runCommand({"grantRolesToUser": "sync", "roles": [{"role": "read", "db": "shop"}]})'
    )
    (command,) = commands_of_copies("shop", sync)
    assert command.body["roles"] == [{"role": "readWrite", "db": "shop"}, {"role": "dbAdmin", "db": "shop"}]
