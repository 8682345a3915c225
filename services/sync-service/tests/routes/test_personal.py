"""Masks of personal fields: pure functions."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.change_events import mongodb_event, mysql_event
from sync_service.dead_letters.schemas import _text
from sync_service.routes.config import Route
from sync_service.routes.personal import MASK, PersonalFields

SECRET = "ada@example.com"


def route(**changed: Any) -> Route:
    declared = {
        "name": "people",
        "topic": "cdc.mysql.shop.people",
        "target": {"store": "mongodb", "collection": "people"},
        "key": {"_id": {"from": "id", "type": "string"}},
        "fields": {
            "contact": {"from": "email", "type": "string", "personal": True},
            "city": {"from": "address.city", "type": "string", "personal": True},
            "role": "string",
        },
        "drop": [{"from": "phone", "personal": True}, "note"],
    }
    return Route.model_validate(declared | changed)


ORDERS = Route.model_validate(
    {
        "name": "orders",
        "topic": "cdc.mongo.shop.orders",
        "target": {"store": "mysql", "table": "orders"},
        "key": {
            "mail": {"from": "_id.mail", "type": "string", "personal": True},
            "number": {"from": "_id.number", "type": "integer"},
        },
        "fields": {"customer": {"type": "json", "personal": True}, "total": "number"},
    }
)
PEOPLE, OPEN = PersonalFields(route()), PersonalFields(route(fields={"role": "string"}, drop=["note"]))
ROW = {"id": "u1", "email": SECRET, "phone": "1", "address": {"city": "x", "zip": "2"}, "role": "admin", "note": "n"}
HIDDEN = {**ROW, "email": MASK, "phone": MASK, "address": {"city": MASK, "zip": "2"}}


def test_fields_are_masked_by_their_paths_in_the_source() -> None:
    assert PEOPLE.row(ROW) == HIDDEN
    assert PEOPLE.row({**ROW, "email": None})["email"] is None
    assert PEOPLE.row({**ROW, "address": [{"city": "x"}, "somewhere"]})["address"] == [{"city": MASK}, MASK]
    # A column with JSON is a text.
    assert PEOPLE.row({**ROW, "address": '{"city": "x"}'})["address"] == MASK
    assert PEOPLE.row(None) is None


def test_route_without_personal_fields_changes_nothing() -> None:
    assert OPEN.is_empty
    assert OPEN.view({"key": {"id": 1}, "after": ROW}) == {"key": {"id": 1}, "after": ROW}
    assert (OPEN.value_text("no JSON"), OPEN.key_text("k"), OPEN.header("h", "v")) == ("no JSON", "k", "v")


def test_view_of_an_event_has_masked_rows_and_keys() -> None:
    view = PEOPLE.view({"topic": "t", "op": "u", "key": {"id": "u1"}, "before": ROW, "after": None})
    assert view == {"topic": "t", "op": "u", "key": {"id": "u1"}, "before": HIDDEN, "after": None}
    assert PersonalFields(ORDERS).view({"key": {"_id": {"mail": SECRET, "number": 1}}}) == {
        "key": {"_id": {"mail": MASK, "number": 1}}
    }


def test_value_of_a_dead_letter_is_masked() -> None:
    key, value = mysql_event(ROW, op="u")
    assert key is not None
    assert value is not None
    event = {**json.loads(value), "before": ROW, "more": SECRET}
    event["source"]["query"] = f"a statement with {SECRET}"
    masked = json.loads(PEOPLE.value_text(json.dumps(event)))
    assert (masked["before"], masked["after"], masked["more"]) == (HIDDEN, HIDDEN, MASK)
    assert masked["source"] == {**event["source"], "query": MASK}
    assert PEOPLE.key_text(key.decode()) == key.decode()


def test_value_of_a_dead_letter_of_mongodb_is_masked() -> None:
    document = {"_id": {"mail": SECRET, "number": 1}, "customer": {"name": SECRET}, "total": 1.5}
    key, value = mongodb_event(document, op="c")
    assert value is not None
    fields = PersonalFields(ORDERS)
    masked = json.loads(json.loads(fields.value_text(value.decode()))["after"])
    assert masked == {"_id": {"mail": MASK, "number": 1}, "customer": MASK, "total": 1.5}
    assert fields.key_text((key or b"").decode()) == MASK
    assert fields.header("__debezium.newkey", f'{{"id":"{SECRET}"}}') == MASK


@pytest.mark.parametrize(
    "value",
    [
        f"not JSON: {SECRET}",
        f'["{SECRET}"]',
        f'{{"after": {{"email": "{SECRET}"}}}}',
        f'{{"email": "{SECRET}", "source": {{}}}}',
        f'{{"source": {{}}, "after": "{SECRET}"}}',
        f'{{"source": {{}}, "after": ["{SECRET}"]}}',
        "[" * 100_000,
    ],
)
def test_what_is_no_event_of_the_route_is_masked_as_a_whole(value: str) -> None:
    assert SECRET not in PEOPLE.value_text(value)
    assert MASK in PEOPLE.value_text(value)


@pytest.mark.parametrize("place", ["op", "connector"])
def test_envelope_that_can_not_be_read_is_masked_as_a_whole(place: str) -> None:
    event = json.loads(mysql_event(ROW)[1] or b"")
    (event if place == "op" else event["source"])[place] = SECRET
    assert PEOPLE.value_text(json.dumps(event)) == MASK


@pytest.mark.parametrize("key", ["no JSON", f'"{SECRET}"', f'{{"email": "{SECRET}"}}', f'{{"id": 1, "x": "{SECRET}"}}'])
def test_key_of_another_form_is_masked_as_a_whole(key: str) -> None:
    assert PEOPLE.key_text(key) == MASK


def test_bytes_that_are_no_text_and_unknown_headers_are_masked() -> None:
    assert _text(SECRET.encode() + b"\xff", PEOPLE) == (MASK, "utf-8")
    assert _text(SECRET.encode() + b"\xff", OPEN)[1] == "base64"
    assert PEOPLE.header("x-mail", SECRET) == MASK


def test_all_of_a_topic_without_a_route_may_be_personal() -> None:
    fields = PersonalFields(None)
    assert (fields.value_text("{}"), fields.key_text("{}"), fields.header("h", "v")) == (MASK,) * 3
    assert fields.view({"topic": "t", "key": {"id": 1}, "after": ROW}) == {"topic": "t", "key": MASK, "after": MASK}
    assert fields.view({"topic": "t", "after": None})["after"] == MASK


_JSON = st.recursive(
    st.none() | st.integers() | st.just(SECRET),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "email"]), inner, max_size=3)
    ),
    max_leaves=10,
)


@given(_JSON, _JSON)
def test_no_form_of_a_personal_field_shows_its_value(email: Any, city: Any) -> None:
    shown = PEOPLE.row({"id": "u1", "email": email, "address": {"city": city}})
    assert SECRET not in json.dumps(shown)
