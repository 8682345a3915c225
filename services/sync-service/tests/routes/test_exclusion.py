"""Fields that a route excludes: pure functions."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.change_events import mongodb_event, mysql_event
from sync_service.dead_letters.models import without_excluded
from sync_service.routes.exclusion import NO_FIELDS, ExcludedFields
from sync_service.routes.loader import InvalidRoutes, default_routes_file, load_routes
from sync_service.routes.personal import MASK

ADDRESS = 'ada"x\\@example.com'
FIELDS = ExcludedFields([("email",)])
NESTED = ExcludedFields([("customer", "email")])


def event(row: dict[str, Any], **options: Any) -> bytes:
    _, value = mysql_event({"id": "u1", **row}, **options)
    return json.dumps(json.loads(value or b""), separators=(",", ":")).encode()


def test_field_is_found_in_both_rows_and_only_as_a_field() -> None:
    assert FIELDS.are_in(event({"email": ADDRESS}))
    assert FIELDS.are_in(event({"email": None}, op="d"))
    assert not FIELDS.are_in(event({"name": '"email":"x"', "bio": "email", "address": {"email": "x"}}))
    assert not FIELDS.are_in(None)
    assert not NO_FIELDS.are_in(event({"email": ADDRESS}))
    assert NESTED.are_in(mongodb_event({"_id": 1, "customer": {"email": ADDRESS}})[1])
    assert not NESTED.are_in(mongodb_event({"_id": 1, "email": ADDRESS, "customer": 5})[1])


def test_field_is_removed_and_everything_else_stays() -> None:
    before = {**json.loads(event({"name": "Ö", "big": 2**70, "email": ADDRESS}))}
    before["before"] = {"id": "u1", "email": "old"}
    value, removed = FIELDS.removed_from(json.dumps(before).encode())
    assert sorted(removed) == sorted([ADDRESS, "old"])
    assert json.loads(value) == {**before, "before": {"id": "u1"}, "after": {"id": "u1", "name": "Ö", "big": 2**70}}
    value, removed = NESTED.removed_from(mongodb_event({"_id": 1, "customer": {"email": ADDRESS, "n": 1}})[1] or b"")
    assert json.loads(json.loads(value)["after"]) == {"_id": 1, "customer": {"n": 1}}
    assert list(removed) == [ADDRESS]


@given(st.data())
def test_field_of_a_value_that_is_cut_off_is_removed(data: st.DataObject) -> None:
    whole = data.draw(st.sampled_from([event({"email": "ada@example.com", "role": "admin"}), b""]))
    if not whole:
        whole = (mongodb_event({"_id": 1, "customer": {"email": "ada@example.com", "role": "admin"}})[1] or b"")[:-1]
    cut = whole[: data.draw(st.integers(0, len(whole) - 1))]
    fields = NESTED if b"customer" in cut else FIELDS
    value, _ = fields.removed_from(cut)
    assert b"ada@" not in value
    assert not fields.are_in(value)


def test_reason_and_key_of_a_dead_letter_lose_the_values_too() -> None:
    headers = [("__connect.errors.topic", b"t"), ("reason", f"Duplicate entry '{ADDRESS}'".encode())]
    key, value, cleaned = without_excluded(ADDRESS.encode(), event({"email": ADDRESS}), headers, FIELDS)
    assert (key, b"example" in (value or b"")) == (MASK.encode(), False)
    assert cleaned == [("__connect.errors.topic", b"t"), ("reason", f"Duplicate entry '{MASK}'".encode())]
    headers[1] = ("reason", b'not JSON: {"email":"ada@example.com')
    _, value, cleaned = without_excluded(None, b'{"after":{"email":"ada@example.com', headers, FIELDS)
    assert (value, cleaned[1][1]) == (b'{"after":{"email":null', b'not JSON: {"email":null')
    unchanged = (b"k", event({"name": "Ada"}), headers)
    assert without_excluded(*unchanged, FIELDS) == unchanged


def test_built_in_copy_has_no_address() -> None:
    users = next(route for route in load_routes(default_routes_file()) if route.name == "users")
    assert (users.excluded, users.excluded_names) == ([("email",)], ["email"])
    assert "email" not in users.fields


RELEASED = """
users:
  topic: cdc.mysql.auth.users
  target: {store: mongodb, database: auth, collection: users}
  key:
    _id: {from: id, type: string}
  fields:
    username: string
    mail: {from: email, type: string}
  indexes: [[username], [mail]]
"""


def test_routes_of_the_last_release_go_on_working_without_the_address(tmp_path: Path) -> None:
    file = tmp_path / "routes.yaml"
    file.write_text(RELEASED)
    (users,) = load_routes(file)
    assert (list(users.fields), users.indexes, users.excluded) == (["username"], [["username"]], [("email",)])
    file.write_text(RELEASED.replace("type: string}\n  indexes", "type: string, default: null}\n  indexes"))
    (users,) = load_routes(file)
    assert list(users.fields) == ["username", "mail"]


def test_personal_part_of_a_copied_document_is_no_dropped_field(tmp_path: Path) -> None:
    """Events would lack it, and rows that are compared or repaired would have it."""
    file = tmp_path / "routes.yaml"
    file.write_text(
        "orders:\n  topic: cdc.mongo.shop.orders\n  target: {store: mysql, table: orders}\n"
        "  key: {id: {from: _id, type: string}}\n  fields: {customer: json}\n"
        "  drop: [{from: customer.email, personal: true}]\n"
    )
    with pytest.raises(InvalidRoutes, match=r"customer\.email is dropped as personal, .* but customer copies all"):
        load_routes(file)
