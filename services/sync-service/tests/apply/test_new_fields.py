"""Fields that a source gets while its events are applied."""

from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from sync_service.apply.new_fields import MOST_NEW_FIELDS, NewFields
from sync_service.metrics import SyncMetrics
from sync_service.routes.config import Route
from sync_service.statistics import RouteStatistics


def watched(store: str, **options: Any) -> tuple[NewFields, RouteStatistics]:
    target = {"store": store, "table" if store == "mysql" else "collection": "things"}
    key = {"id" if store == "mysql" else "_id": {"from": "id", "type": "integer"}}
    route = Route.model_validate(
        {
            "name": "things",
            "topic": "cdc.shop.things",
            "target": target,
            "key": key,
            "fields": {"name": "string"},
            **options,
        }
    )
    statistics = RouteStatistics("things", SyncMetrics(CollectorRegistry()))
    return NewFields(route, statistics), statistics


def counted(statistics: RouteStatistics) -> float | None:
    return statistics.metrics.registry.get_sample_value("sync_new_fields_total", {"route": "things"})


def test_column_that_the_first_row_lacks_is_reported_once() -> None:
    fields, statistics = watched("mongodb")
    fields.see({"id": 1, "name": "a", "margin": 1})
    fields.see({"id": 2, "name": "b", "margin": 1})
    assert statistics.new_fields == []
    for number in range(3):
        fields.see({"id": number, "name": "c", "margin": 1, "discount": 5, "code": None})
    assert statistics.new_fields == ["code", "discount"]
    assert counted(statistics) == 2


def test_column_that_the_route_names_is_not_new() -> None:
    fields, statistics = watched("mongodb", drop=["secret"], inputs={"hidden": "boolean"}, where="!hidden")
    fields.see({"id": 1})
    fields.see({"id": 1, "name": "a", "secret": "s", "hidden": False})
    assert statistics.new_fields == []


def test_documents_may_lack_fields_at_first() -> None:
    fields, statistics = watched("mysql")
    for number in range(1000):
        fields.see({"_id": number, "id": number, **({"seldom": 1} if number == 700 else {})})
    fields.see({"_id": 1, "seldom": 1, "new": 1})
    assert statistics.new_fields == ["new"]


def test_names_without_end_are_not_kept_without_end() -> None:
    fields, statistics = watched("mongodb")
    fields.see({"id": 1})
    fields.see({"id": 1, **{f"field{number}": 1 for number in range(MOST_NEW_FIELDS + 5)}})
    for number in range(50):
        fields.see({"id": 1, f"another{number}": 1})
    assert len(statistics.new_fields) == MOST_NEW_FIELDS
    assert fields._known == {"id", "name", *statistics.new_fields}


@pytest.mark.parametrize("option", ["ignore", "alert"])
def test_option_is_one_of_both(option: str) -> None:
    watched("mysql", on_new_field=option)
