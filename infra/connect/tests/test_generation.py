"""Connectors and topics follow from `routes.yaml`."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from registrar.connectors import InvalidDeclaration
from registrar.declared import declared_settings, declared_topics
from registrar.generation import EXCLUSIONS, with_exclusions
from sync_service.routes.config import Route
from sync_service.routes.loader import InvalidRoutes, RoutesFile, default_routes_file, load_routes, load_routes_file

# The connectors' files of release 0.1.0.
RELEASED = Path(__file__).parent / "released"
STATEMENTS = {"include.schema.changes": "true"}
ALL_DDL = "schema.history.internal.store.only.captured.tables.ddl"
SOURCES = """
sources:
  shop-mysql:
    kind: mysql
    environment: SHOP_MYSQL
    partitions: 3
    options: {time.precision.mode: microseconds, snapshot.fetch.size: 500, column.exclude.list: shop.products.cost}
  shop-mongo: {kind: mongodb, topic_prefix: cdc.shop, database: shop}
  idle: {kind: mysql}
"""
PRODUCTS = """
products:
  topic: cdc.shop-mysql.shop.products
  target: {store: mongodb, database: shop_copy, collection: products}
  key: {_id: {from: id, type: string}}
  fields: {name: string}
  drop: [{from: margin, personal: true}]
"""
ORDERS = """
orders:
  topic: cdc.shop.shop.orders
  target: {store: mysql, database: shop_copy, table: orders}
  key: {id: {from: _id, type: string}}
  fields: {total: number}
"""


def read(folder: Path, text: str) -> RoutesFile:
    (folder / "routes.yaml").write_text(text)
    return load_routes_file(folder / "routes.yaml")


def settings(folder: Path, text: str) -> dict[str, dict[str, str]]:
    return declared_settings(read(folder, text), folder)


def released() -> dict[str, dict[str, str]]:
    return {file.stem: json.loads(file.read_text()) for file in RELEASED.glob("*.json")}


def test_built_in_connectors_are_those_of_the_last_release_and_take_signals(tmp_path: Path) -> None:
    """So they keep their offsets and topics."""
    generated = declared_settings(load_routes_file(default_routes_file()), tmp_path)
    changed = {
        name: {setting: value for setting, value in config.items() if released()[name].get(setting) != value}
        for name, config in generated.items()
    }
    assert {name: {**released()[name], **changed[name]} for name in released()} == generated
    signals = {"signal.enabled.channels", "signal.kafka.bootstrap.servers", "signal.kafka.topic"}
    signals |= {"signal.kafka.groupId", "signal.poll.interval.ms"}
    signals |= {"notification.enabled.channels", "notification.sink.topic.name"}
    assert changed["mysql-users"].keys() == {*signals, ALL_DDL, "include.schema.changes", "read.only"}
    of_mongodb = {"signal.data.collection", "incremental.snapshot.watermarking.strategy"}
    assert changed["mongodb-tweets"].keys() == signals | of_mongodb
    assert changed["mysql-users"][ALL_DDL] == "false"


def test_built_in_topics_are_those_of_the_last_release_and_of_signals() -> None:
    topics = declared_topics(load_routes_file(default_routes_file()))
    events = {"retention.ms": "604800000", "segment.ms": "86400000", "cleanup.policy": "delete"}
    assert {name: (topic.partitions, topic.config) for name, topic in topics.items()} == {
        **{f"cdc.mongo.tweets.{name}": (6, events) for name in ("tweets", "likes", "follows")},
        "cdc.mysql.auth.users": (6, events),
        "sync.dead-letters": (1, {"retention.ms": "2592000000", "segment.ms": "86400000"}),
        "__debezium-heartbeat.cdc.mysql": (1, {"retention.ms": "3600000"}),
        "__debezium-heartbeat.cdc.mongo": (1, {"retention.ms": "3600000"}),
        **{
            f"cdc.{source}.{name}": (1, {"retention.ms": "2592000000", "cleanup.policy": "delete"})
            for source in ("mysql", "mongo")
            for name in ("signals", "notifications")
        },
        "cdc.mysql.schema-history": (1, {"retention.ms": "-1", "cleanup.policy": "delete"}),
        "cdc.mysql": (1, events),
        **{f"connect-{name}": (1, {"cleanup.policy": "compact"}) for name in ("configs", "offsets", "status")},
    }


def test_file_of_the_last_release_keeps_its_connectors(tmp_path: Path) -> None:
    """It has no sources. Its own routes have connectors and topics in files of their own."""
    own = {**released()["mysql-users"], "topic.prefix": "cdc.mysql-shop", "table.include.list": "shop.products"}
    del own["column.exclude.list"]
    (tmp_path / "mysql-shop.json").write_text(json.dumps(own))
    found = settings(tmp_path, PRODUCTS.replace("shop-mysql", "mysql-shop"))
    built_in = declared_settings(load_routes_file(default_routes_file()), tmp_path / "none")
    changed = {"column.exclude.list": r"shop.products.margin", **STATEMENTS}
    assert found == {**built_in, "mysql-shop": {**own, **changed}}
    assert settings(tmp_path, ORDERS.replace("cdc.shop.shop", "cdc.mongo.tweets")).keys() == found.keys()
    assert [route.name for route in load_routes(tmp_path / "routes.yaml")] == ["orders"]


@pytest.mark.parametrize(
    ("field", "excluded"),
    [
        ("bio: string", "auth.users.email"),
        ("email: string", "auth.users.email"),
        ("email: {type: string, default: null}", None),
    ],
)
def test_file_of_the_last_release_gets_the_address_only_if_it_asks_for_it(
    tmp_path: Path, field: str, excluded: str | None
) -> None:
    users = (
        "users: {topic: cdc.mysql.auth.users, target: {store: mongodb, database: auth, collection: users}, "
        f"key: {{_id: {{from: id, type: string}}}}, fields: {{{field}}}}}"
    )
    assert settings(tmp_path, users)["mysql-users"].get("column.exclude.list") == excluded


def test_route_called_sources_is_a_route(tmp_path: Path) -> None:
    file = read(tmp_path, PRODUCTS.replace("products:", "sources:", 1))
    assert [route.name for route in file.routes] == ["sources"]


def test_sources_of_ones_own_have_connectors_and_topics(tmp_path: Path) -> None:
    text = SOURCES + PRODUCTS + ORDERS
    found = settings(tmp_path, text)
    assert found.keys() == {"shop-mysql", "shop-mongo"}, "a source without routes has no connector"
    mysql = found["shop-mysql"]
    assert mysql["topic.prefix"] == "cdc.shop-mysql"
    assert (mysql["database.include.list"], mysql["table.include.list"]) == ("shop", "shop.products")
    assert mysql["column.exclude.list"] == "shop.products.cost,shop.products.margin"
    assert (mysql["time.precision.mode"], mysql["snapshot.fetch.size"]) == ("microseconds", "500")
    assert (mysql["database.hostname"], mysql["topic.creation.default.partitions"]) == ("${SHOP_MYSQL_HOST}", "3")
    assert 1_000_000 < int(mysql["database.server.id"]) < 2**32
    mongodb = found["shop-mongo"]
    assert (mongodb["capture.target"], mongodb["collection.include.list"]) == ("shop", "shop.orders")
    assert mongodb["mongodb.connection.string"] == "${CDC_MONGODB_URL}"
    topics = declared_topics(read(tmp_path, text))
    assert {name: topic.partitions for name, topic in topics.items() if "shop" in name} == {
        "cdc.shop-mysql.shop.products": 3,
        "cdc.shop-mysql": 1,
        "cdc.shop-mysql.schema-history": 1,
        "__debezium-heartbeat.cdc.shop-mysql": 1,
        "cdc.shop-mysql.signals": 1,
        "cdc.shop-mysql.notifications": 1,
        "cdc.shop.shop.orders": 6,
        "__debezium-heartbeat.cdc.shop": 1,
        "cdc.shop.signals": 1,
        "cdc.shop.notifications": 1,
    }


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        (("  shop-mongo:", "  shop mongo:"), r":8: source shop mongo: name: String should match"),
        (("database: shop}", "databases: x, database: shop}"), r":8: source shop-mongo: databases: Extra inputs"),
        (("cdc.shop, database: shop", "cdc.shop"), r":8: source shop-mongo: a source of kind mongodb has a database"),
        (("prefix: cdc.shop", "prefix: cdc.idle"), r":9: source idle has the same topic_prefix as source shop-mongo"),
        (("kind: mongodb", "kind: mongo"), r":8: source shop-mongo: kind: Input should be"),
        (("partitions: 3", "partitions: 0"), r":6: source shop-mysql: partitions: Input should be greater"),
        (("snapshot.fetch.size", "topic.prefix"), r":7: source shop-mysql: options: topic.prefix can't be set"),
        (
            ("cdc.shop.shop.orders", "cdc.shop.bar.orders"),
            r":19: route orders: source shop-mongo reads only the database shop",
        ),
        (("cdc.shop-mysql.shop", "cdc.shop.shop"), r":12: route products: the topic is one of source shop-mongo"),
    ],
)
def test_error_of_a_source_names_its_line(tmp_path: Path, changed: tuple[str, str], error: str) -> None:
    text = SOURCES + PRODUCTS + ORDERS
    assert changed[0] in text
    with pytest.raises(InvalidRoutes, match=error):
        read(tmp_path, text.replace(*changed))


def test_file_of_ones_own_replaces_a_generated_connector(tmp_path: Path) -> None:
    own = {"connector.class": "io.debezium.connector.mysql.MySqlConnector", "topic.prefix": "cdc.mysql"}
    (tmp_path / "mysql-users.json").write_text(json.dumps(own))
    found = declared_settings(load_routes_file(default_routes_file()), tmp_path)
    assert found["mysql-users"] == {**own, "column.exclude.list": "auth.users.email", **STATEMENTS}
    (tmp_path / "mysql-users.json").write_text("[]")
    with pytest.raises(InvalidDeclaration, match=r"mysql-users\.json: "):
        declared_settings(load_routes_file(default_routes_file()), tmp_path)


def route(name: str, topic: str, store: str, drop: list[Any]) -> Route:
    target = {"store": "mongodb", "collection": name} if store == "mysql" else {"store": "mysql", "table": name}
    key = {"_id": {"from": "id", "type": "string"}} if store == "mysql" else {"id": {"from": "_id", "type": "string"}}
    return Route.model_validate(
        {"name": name, "topic": topic, "target": target, "key": key, "fields": {"note": "string"}, "drop": drop}
    )


ROUTES = [
    route("users", "cdc.mysql.auth.users", "mysql", [{"from": "email", "personal": True}]),
    route("people", "cdc.mysql-shop.shop.people", "mysql", [{"from": ["a(b"], "personal": True}, "margin"]),
    route("orders", "cdc.mongo-shop.shop.orders", "mongodb", [{"from": "customer.phone", "personal": True}]),
]


@pytest.mark.parametrize(
    ("released_as", "prefix", "before", "after"),
    [
        ("mysql-users", "cdc.mysql-shop", "", r"shop.people.a\(b"),
        ("mysql-users", "cdc.mysql-shop", "shop.late.x", r"shop.late.x,shop.people.a\(b"),
        ("mysql-users", "cdc.mysql-shop", r"shop.people.a\(b", r"shop.people.a\(b"),
        ("mysql-users", "cdc.other", "", None),
        ("mongodb-tweets", "cdc.mongo-shop", "", "shop.orders.customer.phone"),
    ],
)
def test_connector_leaves_out_what_routes_drop_as_personal(
    released_as: str, prefix: str, before: str, after: str | None
) -> None:
    setting = EXCLUSIONS[released_as.partition("-")[0]]
    config: Mapping[str, str] = {**released()[released_as], "topic.prefix": prefix, setting: before}
    if not before:
        config = {name: value for name, value in config.items() if name != setting}
    found = with_exclusions(config, ROUTES)
    assert found.get(setting) == after
    assert {**found, setting: ""} == {**config, setting: ""}
