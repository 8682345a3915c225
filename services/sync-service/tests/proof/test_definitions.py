"""What makes a proof that of another definition of the route."""

from collections.abc import Mapping
from typing import Any

import pytest

from support.built_in_routes import built_in_declarations
from sync_service.proof.store import _definition
from sync_service.routes.config import Route


def definition(**changed: Any) -> str:
    body = built_in_declarations()["tweets"]
    added = changed.pop("fields", {})
    return _definition(
        Route.model_validate({**body, "name": "tweets", "fields": {**body["fields"], **added}, **changed})
    )


@pytest.mark.parametrize(
    "changed",
    [
        {"where": "version == 2"},
        {"deletes": "keep-row", "tombstones": "purge"},
        {"fields": {"length": {"expr": "size(text)", "type": "integer"}}},
        {"where": "size(other) > 1", "inputs": {"other": {"type": "string"}}},
    ],
)
def test_changed_rows_and_fields_are_another_definition(changed: Mapping[str, Any]) -> None:
    assert definition(**changed) == definition(**changed)
    assert definition(**changed) != definition()


def test_changed_expression_or_input_is_another_definition() -> None:
    inputs = ({"other": {"type": "string"}}, {"other": {"type": "text"}})
    one, other = (definition(where="size(other) > 1", inputs=each) for each in inputs)
    assert one != other
    assert definition(where="version == 2") != definition(where="version == 3")


def test_what_the_comparison_does_not_depend_on_changes_nothing() -> None:
    assert definition(tombstones="keep", on_new_field="ignore") == definition()
