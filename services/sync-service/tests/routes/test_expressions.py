"""`where`, `expr` and `inputs` of a route."""

from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from sync_service.debezium.errors import UnfitValue
from sync_service.routes.config import Route
from sync_service.routes.expressions import MAXIMUM_LENGTH, Expression
from sync_service.routes.loader import InvalidRoutes, load_routes
from sync_service.routes.mapping import map_fields
from sync_service.routes.row_mapping import RowMapping

FIELDS: Mapping[str, Any] = {
    "name": "string",
    "price": {"type": "decimal", "precision": 10, "scale": 2},
    "is_sold": "boolean",
    "sold_at": "datetime",
    "lines": "json",
}


def route(
    fields: Mapping[str, Any] = FIELDS, *, store: str = "mysql", key: Mapping[str, Any] | None = None, **options: Any
) -> Route:
    target = {"store": store, "table" if store == "mysql" else "collection": "things"}
    declared = {"name": "things", "topic": "cdc.shop.things", "target": target, "key": key or {"id": "integer"}}
    if store == "mongodb":
        declared["key"] = {"_id": {"from": "id", "type": "integer"}}
    return Route.model_validate({**declared, "fields": fields, **options})


def row(**values: Any) -> dict[str, Any]:
    lines = [{"sku": "chair", "count": 2}, {"sku": "desk", "count": 1}]
    named = {"id": 7, "name": "Ada", "price": "12.50", "is_sold": 1, "sold_at": "2026-11-24T01:02:03Z", "lines": lines}
    return {**named, **values}


@pytest.mark.parametrize(
    ("where", "is_copied"),
    [
        ("is_sold && price > 10.0", True),
        ("is_sold && price > 12.5", False),
        ("id == 7", True),
        ("name.startsWith('A') || name.matches('^B.*')", True),
        ("name in ['Eve', 'Bob']", False),
        ("sold_at > timestamp('2026-01-01T00:00:00Z')", True),
        ("sold_at.getFullYear() == 2025", False),
        ("lines.exists(line, line.sku == 'desk' && line.count > 0)", True),
        ("size(lines) == 2 && has(lines[0].sku)", True),
    ],
)
def test_where_selects_rows_by_their_converted_values(where: str, is_copied: bool) -> None:
    assert (map_fields(route(where=where), row()) is not None) is is_copied


def test_both_forms_of_a_boolean_of_mysql_are_one() -> None:
    sold = route(store="mongodb", where="is_sold")
    assert map_fields(sold, row(is_sold=1)) is not None
    assert map_fields(sold, row(is_sold=True)) is not None
    assert map_fields(sold, row(is_sold=False)) is None


def test_fields_of_a_row_that_is_not_copied_are_not_converted() -> None:
    assert map_fields(route(where="is_sold"), row(is_sold=0, price="cheap")) is None


def test_computed_field_has_the_type_that_it_declares() -> None:
    fields = {
        **FIELDS,
        "label": {"expr": "name + ' (' + string(id) + ')'", "type": "string"},
        "gross": {"expr": "price * 1.19", "type": "number"},
        "year": {"expr": "sold_at.getFullYear()", "type": "integer"},
        "skus": {"expr": "lines.map(line, line.sku)", "type": "json"},
        "later": {"expr": "sold_at + duration('1h')", "type": "datetime"},
        "kind": {"expr": "{'Ada': 'author', 'Bob': 'reader'}[name]", "type": "string"},
        "state": {"expr": "is_sold ? 'sold' : null", "type": "string", "default": "free"},
    }
    mapped = map_fields(route(fields), row())
    assert mapped is not None
    assert list(mapped) == list(fields)
    assert {name: mapped[name] for name in fields if name not in FIELDS} == {
        "label": "Ada (7)",
        "gross": 12.5 * 1.19,
        "year": 2026,
        "skus": ["chair", "desk"],
        "later": datetime(2026, 11, 24, 2, 2, 3, tzinfo=UTC),
        "kind": "author",
        "state": "sold",
    }
    unsold = map_fields(route(fields), row(is_sold=0))
    assert unsold is not None
    assert unsold["state"] == "free"


def test_input_is_used_and_not_copied() -> None:
    hidden = route({"name": "string"}, inputs={"hidden": {"from": "flags.hidden", "type": "boolean"}}, where="!hidden")
    assert map_fields(hidden, row(flags={"hidden": False})) == {"name": "Ada"}
    assert map_fields(hidden, row(flags={"hidden": True})) is None
    assert hidden.read_paths["hidden"] == ("flags", "hidden")
    assert "hidden" not in hidden.source_paths


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"is_sold": None}, "where: is_sold: the result is a NoneType, not a boolean"),
        ({"is_sold": 7}, "is_sold: a int that is no boolean"),
        ({"name": "Eve"}, "kind: {'Ada': 1}[name]: a field or key that does not exist: see has()"),
        ({"price": None}, "gross: price * 2.0: values of these types can't be combined, or one is null"),
    ],
)
def test_error_of_an_evaluation_names_field_and_expression_without_the_value(
    values: dict[str, Any], reason: str
) -> None:
    fields = {
        **FIELDS,
        "kind": {"expr": "{'Ada': 1}[name]", "type": "integer"},
        "gross": {"expr": "price * 2.0", "type": "number"},
    }
    with pytest.raises(UnfitValue) as error:
        map_fields(route(fields, where="is_sold"), row(**values))
    assert reason in str(error.value)
    assert "Eve" not in str(error.value)


def test_result_that_is_not_of_the_type_is_named() -> None:
    with pytest.raises(UnfitValue, match="copied: a str that is no integer"):
        map_fields(route({"name": "string", "copied": {"expr": "name", "type": "integer"}}), row())


def test_where_without_a_boolean_is_an_error_of_the_row() -> None:
    with pytest.raises(UnfitValue, match="where: id: the result is a int, not a boolean"):
        map_fields(route(where="id"), row())


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"where": "is_sold &&"}, r"where\n.*not an expression in CEL: mismatched input '<EOF>' \(character 11\)"),
        ({"where": "sold"}, "where: sold is no field under key, fields or inputs"),
        ({"where": "twice > 1"}, "where: twice is computed itself"),
        ({"where": "['a'].exists(name, name == 'b') || name == 'a'"}, "where: name is a field, so name the variable"),
        ({"where": "name.replace('a', 'b') == ''"}, "replace is no function of expressions; they have bytes, contains"),
        ({"where": "x" * (MAXIMUM_LENGTH + 1)}, f"at most {MAXIMUM_LENGTH} characters"),
        ({"inputs": {"hidden": "boolean"}}, "inputs.hidden: no expression uses it"),
        ({"inputs": {"name": "string"}, "where": "name == ''"}, "both input and copied: name"),
        ({"inputs": {"one": {"constant": 1}}, "where": "one == 1"}, "inputs.one: an input is a field of the source"),
        ({"key": {"id": {"expr": "1", "type": "integer"}}}, "id: a key is not computed"),
        ({"fields": {"a": {"expr": "1", "type": "integer", "from": "b"}}}, "either from or expr"),
        ({"fields": {"a": {"expr": "1"}}}, "a field has either a type"),
        (
            {"inputs": {"mail": "string"}, "where": "mail != ''", "drop": [{"from": "mail", "personal": True}]},
            "mail is dropped as personal, so it can't be the input mail",
        ),
    ],
)
def test_declaration_that_can_not_work_is_refused(options: dict[str, Any], complaint: str) -> None:
    fields = {**FIELDS, "twice": {"expr": "id * 2", "type": "integer"}}
    with pytest.raises(ValidationError, match=complaint):
        route(**{"fields": fields, **options})


def test_route_without_expressions_has_the_plain_mapping() -> None:
    assert type(route().fields_mapping) is RowMapping


@pytest.mark.parametrize(
    "text",
    [
        "[1].all(a, [1].all(b, true))",
        "['ab'].map(a, a + a).map(b, b + b)",
        "a . exists (x, true) || b.exists_one(y, true)",
    ],
)
def test_loops_that_multiply_time_or_memory_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="at most one of all, exists"):
        Expression(text)


@pytest.mark.parametrize("text", ["(" * 490 + "1" + ")" * 490, "[" * 500, "!" * 999 + "a", "{" * 900, "-" * 999 + "1"])
def test_deeply_nested_expression_is_refused_or_computed(text: str) -> None:
    with suppress(ValueError, UnfitValue):
        Expression(text)({"a": True})


@pytest.mark.parametrize(
    ("text", "most"), [("l.map(x, x)", 100), ("l.filter(x, true)", 100), ("l.exists(x, x == 'b')", 1000)]
)
def test_loops_over_very_many_items_are_data_errors(text: str, most: int) -> None:
    """A `map` copies its result for each item."""
    Expression(text)({"l": ["a"] * most})
    nested = {"l": ["a"], "other": {"k": ["a"] * (most - 1)}}
    for row in ({"l": ["a"] * (most + 1)}, nested):
        with pytest.raises(UnfitValue, match=f"lists and maps with more than {most} items"):
            Expression(text)(row)
    Expression("size(l) > 1")({"l": ["a"] * (most + 1)})


def test_regular_expression_takes_linear_time() -> None:
    """The same for a backtracking engine would not end: 2^5000 steps."""
    assert Expression("s.matches('^(a+)+$')")({"s": "a" * 5000 + "b"}) is False


def test_expression_is_parsed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    sold = route(where="is_sold")
    monkeypatch.setattr("cel.compile", lambda _text: pytest.fail("parsed again"))
    assert map_fields(sold, row()) is not None
    assert map_fields(sold, row()) is not None


def test_error_names_file_line_route_and_field(tmp_path: Path) -> None:
    file = tmp_path / "routes.yaml"
    file.write_text(
        """\
things:
  topic: cdc.shop.things
  target: {store: mysql, table: things}
  key: {id: integer}
  fields:
    name: string
    twice: {expr: "nam + nam", type: string}
others:
  topic: cdc.shop.others
  target: {store: mysql, table: others}
  key: {id: integer}
  fields: {}
  where: "id >"
"""
    )
    with pytest.raises(InvalidRoutes) as error:
        load_routes(file)
    first, second = error.value.problems
    assert first == f"{file}:7: route things: fields.twice: nam is no field under key, fields or inputs"
    assert second.startswith(f"{file}:13: route others: where: not an expression in CEL: mismatched input '<EOF>'")
