"""Cursors, times, settings and log lines."""

import contextlib
import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, SecretStr, ValidationError

from service_kit.mongodb import MongodbAddress
from service_kit.mysql import MysqlAddress
from service_kit.pagination import InvalidCursor, decode_cursor, encode_cursor
from service_kit.schemas import UtcDatetime
from service_kit.settings import ServiceSettings, format_settings_error
from support.logs import configured_logging


@given(st.integers(), st.text())
def test_cursor_comes_back_as_it_was(number: int, word: str) -> None:
    assert decode_cursor(encode_cursor(number, word), int, str) == (number, word)


@given(st.text())
def test_anything_else_is_an_invalid_cursor_or_a_whole_one(text: str) -> None:
    with contextlib.suppress(InvalidCursor):
        assert [type(part) for part in decode_cursor(text, int, str)] == [int, str]


class Moment(BaseModel):
    at: UtcDatetime


@pytest.mark.parametrize(
    "moment",
    [
        datetime(2026, 1, 31, 12),  # noqa: DTZ001 - as a database hands it out
        datetime(2026, 1, 31, 12, tzinfo=UTC),
        datetime(2026, 1, 31, 14, tzinfo=timezone(timedelta(hours=2))),
    ],
)
def test_times_are_written_in_utc_with_microseconds(moment: datetime) -> None:
    assert json.loads(Moment(at=moment).model_dump_json()) == {"at": "2026-01-31T12:00:00.000000Z"}


class WithSecret(ServiceSettings):
    database_url: SecretStr = SecretStr("mysql://a:local-only-x@host/db")


def test_default_secrets_are_refused_outside_local() -> None:
    WithSecret(port=1, environment="local")
    with pytest.raises(ValidationError) as refused:
        WithSecret(port=1, environment="production")
    sentence = format_settings_error(refused.value)
    assert "DATABASE_URL has its default value" in sentence
    assert "\n" not in sentence
    assert "local-only-x" not in sentence
    WithSecret(port=1, environment="production", database_url=SecretStr("mysql://a:own@host/db"))


class WithAddresses(ServiceSettings):
    mysql_url: MysqlAddress = SecretStr("mysql://a:b@host:3306/auth")
    mongodb_url: MongodbAddress = SecretStr("mongodb://host/tweets?w=1")


@pytest.mark.parametrize(
    ("name", "address"),
    [
        *(("mysql_url", address) for address in ("", "nonsense", "mysql://a:b@host:x/auth", "mysql://a:b@host")),
        *(("mysql_url", address) for address in ("mysql:///auth", "postgres://a:b@host/auth")),
        *(
            ("mongodb_url", address)
            for address in ("", "nonsense", "mongodb://a:b@host:x/tweets", "mongodb://a:b@host")
        ),
    ],
)
def test_address_that_is_none_is_refused_and_its_password_not_shown(name: str, address: str) -> None:
    with pytest.raises(ValidationError) as raised:
        WithAddresses.model_validate({"port": 1, name: address})
    assert name.upper() in format_settings_error(raised.value)
    assert "a:b" not in format_settings_error(raised.value) + str(raised.value)


def test_addresses_that_are_complete_are_taken() -> None:
    settings = WithAddresses.model_validate(
        {"port": 1, "mysql_url": "mysql://a:b@h/auth", "mongodb_url": "mongodb://h/t"}
    )
    assert settings.mysql_url.get_secret_value() == "mysql://a:b@h/auth"
    assert settings.mongodb_url.get_secret_value() == "mongodb://h/t"


@pytest.mark.parametrize("odd", [{(1, 2): 3}, "\ud800", b"\xff", float("nan"), object(), {"itself": ...}])
def test_whatever_is_to_be_told_is_told(odd: Any, capsys: pytest.CaptureFixture[str]) -> None:
    if isinstance(odd, dict) and "itself" in odd:
        odd["itself"] = odd
    with configured_logging():
        structlog.get_logger("x").warning("happened", odd=odd, name="Ada")
    line = json.loads(capsys.readouterr().out)
    assert line["event"].strip("'") == "happened"
    assert line["name"].strip("'") == "Ada"
    assert "odd" in line


def test_line_that_can_not_be_written_is_nobodys_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with open("/dev/full", "w") as full, configured_logging():  # noqa: PTH123 - a device
        monkeypatch.setattr("sys.stdout", full)
        structlog.get_logger("x").warning("lost")
        monkeypatch.undo()
        with contextlib.suppress(OSError):
            full.close()


def test_secrets_do_not_reach_the_log(capsys: pytest.CaptureFixture[str]) -> None:
    with configured_logging():
        structlog.get_logger("x").info("happened", password="hunter2", refresh_token="abc", name="Ada")
    line = json.loads(capsys.readouterr().out)
    assert (line["event"], line["service"], line["name"]) == ("happened", "things", "Ada")
    assert line["password"] == line["refresh_token"] == "[redacted]"
