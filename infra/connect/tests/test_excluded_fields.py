"""What the connectors leave out is what the routes drop as personal."""

import json
from pathlib import Path
from typing import Any

import pytest

from infra.connect.generate import CONNECTORS, files
from sync_service.routes.config import Route
from sync_service.routes.loader import default_routes_file, load_routes


def test_declared_connectors_are_generated() -> None:
    for file, text in files(load_routes(default_routes_file())).items():
        assert file.read_text() == text, "run `make generate`"
    users = json.loads((CONNECTORS / "mysql-users.json").read_text())
    assert users["column.exclude.list"] == "auth.users.email"


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


CASES = [
    ("mysql-users", "cdc.mysql-shop", "auth.users.email", r"shop.people.a\(b"),
    ("mysql-users", "cdc.mysql-shop", "shop.late.x,auth.users.email", r"shop.late.x,shop.people.a\(b"),
    ("mysql-users", "cdc.other", "auth.users.email", None),
    ("mongodb-tweets", "cdc.mongo-shop", "", "shop.orders.customer.phone"),
]


@pytest.mark.parametrize(("declared", "prefix", "before", "after"), CASES)
def test_connector_of_a_route_of_ones_own_gets_its_fields(
    tmp_path: Path, declared: str, prefix: str, before: str, after: str | None
) -> None:
    """It begins as a copy of a declared one."""
    setting = "column.exclude.list" if declared.startswith("mysql") else "field.exclude.list"
    config = {**json.loads((CONNECTORS / f"{declared}.json").read_text()), "topic.prefix": prefix}
    config |= {setting: before} if before else {}
    (tmp_path / "own.json").write_text(json.dumps(config))
    (text,) = files(ROUTES, tmp_path).values()
    generated = json.loads(text)
    assert generated.pop(setting, None) == after
    config.pop(setting, None)
    assert generated == config
