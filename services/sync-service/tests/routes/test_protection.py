"""`hash` and `mask` of copied fields."""

import hashlib
import hmac
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import SecretStr, ValidationError

from sync_service.debezium.errors import UnfitValue
from sync_service.routes.cli import RoutesSettings
from sync_service.routes.config import Route
from sync_service.routes.loader import InvalidRoutes, load_routes
from sync_service.routes.mapping import map_fields
from sync_service.routes.personal import MASK, PersonalFields

SECRET = "a secret of the tests"


def declaration(fields: Mapping[str, Any], **options: Any) -> dict[str, Any]:
    target = {"store": "mysql", "table": "things"}
    return {"topic": "cdc.shop.things", "target": target, "key": {"id": "integer"}, "fields": fields, **options}


def routes_file(folder: Path, fields: Mapping[str, Any], **options: Any) -> Path:
    file = folder / "routes.yaml"
    file.write_text(yaml.safe_dump({"things": declaration(fields, **options)}, sort_keys=False))
    return file


def mapped(folder: Path, declared: Mapping[str, Any], value: Any, secret: str = SECRET) -> Any:
    (route,) = load_routes(routes_file(folder, {"mail": declared}), SecretStr(secret))
    values = map_fields(route, {"id": 7, "mail": value})
    assert values is not None
    return values["mail"]


def test_hash_is_that_of_rfc_2104_under_the_secret(tmp_path: Path) -> None:
    declared = {"type": "string", "hash": True}
    expected = hmac.new(SECRET.encode(), b"ada@example.com", hashlib.sha256).hexdigest()
    assert mapped(tmp_path, declared, "ada@example.com") == expected
    assert mapped(tmp_path, declared, "ada@example.com", "another secret of theirs") != expected
    assert mapped(tmp_path, declared, None) is None
    assert mapped(tmp_path, {**declared, "default": "unknown"}, None) == "unknown"


@pytest.mark.parametrize(
    ("mask", "text", "seen"),
    [
        (True, "secret", "***"),
        (True, "", "***"),
        ({"last": 4}, "DE02120300000000202051", "***2051"),
        ({"first": 2, "last": 2}, "DE02120300000000202051", "DE***51"),
        ({"first": 2, "last": 2}, "DE51", "***"),
        ({"last": 4}, "Łódź!", "***ódź!"),
    ],
)
def test_mask_leaves_only_the_declared_characters(tmp_path: Path, mask: Any, text: str, seen: str) -> None:
    assert mapped(tmp_path, {"type": "string", "mask": mask}, text) == seen


def test_value_that_does_not_fit_is_refused_without_the_value(tmp_path: Path) -> None:
    with pytest.raises(UnfitValue, match=r"^mail: a int that is no string$"):
        mapped(tmp_path, {"type": "string", "hash": True}, 5)


def test_expressions_see_the_value_itself(tmp_path: Path) -> None:
    fields = {"mail": {"type": "string", "hash": True}, "host": {"expr": "mail.endsWith('.org')", "type": "boolean"}}
    (route,) = load_routes(routes_file(tmp_path, fields, where="mail.contains('@')"), SecretStr(SECRET))
    values = map_fields(route, {"id": 7, "mail": "ada@example.org"})
    assert values is not None
    assert (len(values["mail"]), values["host"]) == (64, True)
    assert map_fields(route, {"id": 7, "mail": "nothing"}) is None


def test_computed_text_can_be_hidden_too(tmp_path: Path) -> None:
    fields = {"name": "string", "initial": {"expr": "name + '!'", "type": "string", "mask": {"first": 1}}}
    (route,) = load_routes(routes_file(tmp_path, fields), None)
    assert map_fields(route, {"id": 7, "name": "Ada"}) == {"name": "Ada", "initial": "A***"}


def test_missing_secret_is_an_error_of_the_file_unless_nothing_is_written(tmp_path: Path) -> None:
    file = routes_file(tmp_path, {"name": "string", "mail": {"type": "string", "hash": True}})
    with pytest.raises(InvalidRoutes) as error:
        load_routes(file)
    assert str(error.value) == f"{file}:10: route things: fields.mail: hash needs the setting SYNC_HASH_SECRET"
    assert load_routes(file, needs_secret=False)


@pytest.mark.parametrize(("value", "secret"), [("", None), ("1234567890123456", "1234567890123456")])
def test_empty_variable_is_no_secret(monkeypatch: pytest.MonkeyPatch, value: str, secret: str | None) -> None:
    monkeypatch.setenv("SYNC_HASH_SECRET", value)
    found = RoutesSettings().sync_hash_secret
    assert (found and found.get_secret_value()) == secret


def test_short_secret_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNC_HASH_SECRET", "123456789012345")
    with pytest.raises(ValidationError, match="at least 16 characters"):
        RoutesSettings()


def test_secret_may_be_in_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(f"{SECRET}\n")
    monkeypatch.setenv("SYNC_HASH_SECRET_FILE", str(tmp_path / "secret"))
    found = RoutesSettings().sync_hash_secret
    assert found is not None
    assert found.get_secret_value() == SECRET


@pytest.mark.parametrize("hidden", [{"hash": True}, {"mask": True}])
def test_hidden_field_is_personal_in_the_source(hidden: Mapping[str, Any]) -> None:
    route = Route.model_validate(
        {**declaration({"mail": {"from": "email", "type": "string", **hidden}}), "name": "things"}
    )
    assert PersonalFields(route).row({"id": 7, "email": "ada@example.com"}) == {"id": 7, "email": MASK}


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"fields": {"a": {"type": "integer", "hash": True}}}, "hash is for string and text"),
        ({"fields": {"a": {"type": "json", "mask": True}}}, "mask is for string and text"),
        ({"fields": {"a": {"type": "string", "mask": True, "hash": True}}}, "either hash or mask"),
        ({"fields": {"a": {"type": "string", "length": 32, "hash": True}}}, "a hash has 64 characters"),
        ({"fields": {"a": {"type": "string", "mask": {"last": -1}}}}, "mask.last"),
        ({"key": {"id": {"type": "string", "hash": True}}}, "id: hash and mask are not for a key"),
        (
            {"inputs": {"b": {"type": "string", "mask": True}}, "where": "b == ''"},
            "inputs.b: hash and mask are for copied fields",
        ),
    ],
)
def test_declaration_that_can_not_work_is_refused(options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        Route.model_validate({**declaration({}), "name": "things", **options})
