"""The rules of a plan: which events are read, what a column refuses, what becomes of a row."""

from decimal import Decimal
from typing import Any

import pytest
from aiokafka import TopicPartition

from sync_service.kafka.admin import OffsetRange
from sync_service.planning.events import newest_offsets
from sync_service.planning.plan import Copy, RoutePlan, RowClassifier, Sample, changed_parts, keeps_copy
from sync_service.planning.report import FilePlan, as_text
from sync_service.routes.config import Route
from sync_service.routes.personal import MASK
from sync_service.sinks.mysql.ddl import ExistingTable
from sync_service.sinks.mysql.refusals import refusal, undetermined_columns
from sync_service.sinks.rows import SourceRow

DECLARED: dict[str, Any] = {
    "name": "orders",
    "topic": "cdc.mongo.shop.orders",
    "target": {"store": "mysql", "table": "orders"},
    "key": {"id": {"from": "_id", "type": "string"}},
    "fields": {"city": {"from": "customer.city", "type": "string"}, "total": "number"},
}


def declared(**changed: Any) -> Route:
    return Route.model_validate({**DECLARED, **changed})


def classifier(before: Route | None, after: Route) -> RowClassifier:
    def none(_key: Any, _values: Any) -> None:
        return None

    return RowClassifier(None if before is None else Copy(before, none), Copy(after, none))


@pytest.mark.parametrize(
    ("sizes", "limit", "chosen"),
    [
        ([3, 3], 10, [3, 3]),
        ([1, 100], 10, [1, 9]),
        ([100, 100], 10, [5, 5]),
        ([0, 100], 1, [0, 1]),
        ([5, 5, 5], 1, [0, 0, 1]),
    ],
)
def test_newest_events_are_chosen(sizes: list[int], limit: int, chosen: list[int]) -> None:
    kept = {TopicPartition("t", number): OffsetRange(7, 7 + size) for number, size in enumerate(sizes)}
    found = newest_offsets(kept, limit)
    numbers = [found.get(partition, (0, 0)) for partition in kept]
    assert [end - start for start, end in numbers] == chosen
    assert all(end == kept[partition].end for partition, (_, end) in found.items())


@pytest.mark.parametrize(
    ("column", "value", "is_refused"),
    [
        ("varchar(3)", "abc", False),
        ("varchar(3)", "abc  ", False),
        ("VARCHAR(3) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin", "abcd", True),
        ("varchar(3)", 1234, True),
        ("varbinary(2)", b"abc", True),
        ("varbinary(2)", "ąb", True),
        ("tinytext", "ą" * 128, True),
        ("text", "a" * 256, False),
        ("bigint", "many", True),
        ("bigint", " 7 ", False),
        ("bigint", "1_000", True),
        ("bigint", "٣", True),
        ("bigint", "-1.5e2", False),
        ("bigint", 2**63, True),
        ("bigint unsigned", 2**63, False),
        ("bigint unsigned", -1, True),
        ("tinyint(1)", 128, True),
        ("tinyint(1)", True, False),
        ("decimal(5,2)", Decimal("999.99"), False),
        ("decimal(5,2)", Decimal(1000), True),
        ("bigint", float("nan"), True),
        ("json", "no JSON", True),
        ("json", '{"a": 1}', False),
        ("json", "NaN", True),
        ("longtext", "anything", False),
        ("bigint", None, False),
    ],
)
def test_column_refuses_what_mysql_refuses(column: str, value: Any, is_refused: bool) -> None:
    reason = refusal(column, value)
    assert (reason is not None) == is_refused
    # It is shown to callers who may not read the value.
    assert reason is None or repr(value) not in reason


@pytest.mark.parametrize(
    ("column", "field", "is_determined"),
    [
        *((kind, "string", False) for kind in ("datetime(6)", "date", "time", "double", "bit(3)", "enum('a')")),
        *((kind, "string", True) for kind in ("bigint", "varchar(3)", "text", "longtext", "json", "varbinary(3)")),
        ("datetime(6)", "datetime", True),
        ("varchar(3)", "datetime", False),
        ("bigint", "json", False),
        ("longtext", "json", True),
        ("longtext", "binary", False),
        ("longblob", "binary", True),
    ],
)
def test_column_whose_refusals_are_not_known_is_named(column: str, field: str, is_determined: bool) -> None:
    route = declared(fields={"sold": field})
    existing = ExistingTable({"id": "varchar(255)", "SOLD": column}, ["id"], is_view=False)
    found = undetermined_columns(route, existing)
    assert bool(found) != is_determined
    assert all(each.startswith(f"column sold is {column.upper()}: not determined") for each in found)


def test_another_type_is_named_unless_it_is_that_of_a_mask() -> None:
    values = {"masked": MASK, "count": "1"}
    sample = Sample("changed", 7, values, {**values, "count": Decimal(1)}, ["masked", "count"])
    plan = FilePlan("new", "live", (), [RoutePlan("orders", "changed", "", "", samples=[sample])])
    lines = as_text(plan).splitlines()
    assert f'      masked: "{MASK}" -> "{MASK}"' in lines
    assert '      count: "1" -> "1" (another type: Decimal)' in lines


def test_parts_that_differ_are_named() -> None:
    before = declared()
    after = declared(
        fields={"total": "decimal", "note": "string", "city": DECLARED["fields"]["city"]}, where="total > 1"
    )
    assert changed_parts(before, after) == ["fields.total", "fields.note", "where"]
    assert changed_parts(before, declared()) == []
    reordered = declared(fields=dict(reversed(DECLARED["fields"].items())))
    assert changed_parts(before, reordered) == ["the order of the fields"]


def test_copy_stays_unless_the_target_is_another_one() -> None:
    before = declared()
    assert keeps_copy(before, declared(target={"store": "mysql", "table": "orders", "database": "shop"}))
    assert not keeps_copy(before, declared(target={"store": "mysql", "table": "others"}))
    assert not keeps_copy(before, declared(topic="cdc.mongo.shop.others"))


def test_personal_values_are_hidden_in_every_form() -> None:
    before = declared(fields={"city": {"from": "customer.city", "type": "string"}, "customer": "json"})
    after = declared(
        fields={
            "city": {"from": "customer.city", "type": "string", "personal": True},
            "customer": "json",
            "label": {"expr": "city + '!'", "type": "string"},
            "total": "number",
        }
    )
    row = {"city": "Bath", "customer": {"city": "Bath", "age": 7}}
    rows = classifier(before, after)
    rows.note(SourceRow(("o1",), row), SourceRow(("o1",), {**row, "label": "Bath!", "total": 1.5}))
    (sample,) = rows.samples
    assert sample.before == {"city": "[personal]", "customer": {"city": "[personal]", "age": 7}}
    assert sample.after == {**sample.before, "label": "[personal]", "total": 1.5}
    assert sample.fields == ["label", "total"]


def test_personal_key_is_hidden() -> None:
    route = declared(key={"id": {"from": "_id", "type": "string", "personal": True}})
    rows = classifier(None, route)
    rows.note(None, SourceRow(("ada@example.com",), {"city": "Bath", "total": 1.0}))
    rows.note(None, SourceRow(("ada@example.com",), None, "the key lacks id", has_no_key=True))
    assert {str(sample.key) for sample in rows.samples} == {"[personal]", "{'id': '[personal]'}"}


def test_field_that_is_left_out_changes_a_copy_only_if_it_does_not_stay() -> None:
    values = {"city": "Bath", "total": 1.0}
    before, after = declared(), declared(fields={"total": "number"})
    rows = classifier(before, after)
    rows.note(SourceRow(("o1",), values), SourceRow(("o1",), {"total": 1.0}))
    assert (rows.plan.changed, rows.plan.unchanged) == (0, 1)


@pytest.mark.parametrize(
    ("target", "key", "changed"),
    [
        ({"store": "mongodb", "collection": "orders"}, {"_id": "string"}, 1),
        # The column stays a BIGINT or TINYINT, in which both are 1.
        ({"store": "mysql", "table": "orders"}, {"id": "string"}, 0),
    ],
)
def test_another_type_is_a_change_unless_a_column_has_the_type(
    target: dict[str, Any], key: dict[str, Any], changed: int
) -> None:
    before, after = (
        declared(target=target, key=key, fields={"sold": kind, "note": "string"}) for kind in ("boolean", "integer")
    )
    rows = classifier(before, after)
    rows.note(SourceRow(("o1",), {"sold": True, "note": None}), SourceRow(("o1",), {"sold": 1, "note": None}))
    assert rows.plan.changed == changed


def test_row_with_another_key_leaves_and_enters_the_copy() -> None:
    rows = classifier(declared(), declared())
    values = {"city": None, "total": 1.0}
    rows.note(SourceRow(("1",), values), SourceRow(("01",), values))
    rows.note(SourceRow(("1",), None, "unfit"), SourceRow(("1",), None, "unfit"))
    rows.note(SourceRow(("1",), None, "unfit"), SourceRow(("1",), values))
    rows.note(None, None)
    plan = rows.plan
    assert (plan.added, plan.removed, plan.unfit, plan.unfit_already, plan.unchanged) == (2, 1, 0, 1, 1)
