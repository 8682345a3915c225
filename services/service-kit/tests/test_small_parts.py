"""Cursors, times, settings and log lines."""

import contextlib
import json
import logging
from datetime import UTC, datetime, timedelta, timezone

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, SecretStr, ValidationError

from service_kit.logging import configure_logging
from service_kit.pagination import InvalidCursor, decode_cursor, encode_cursor
from service_kit.settings import ServiceSettings, explain
from service_kit.wire import UtcDatetime


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
    sentence = explain(refused.value)
    assert "DATABASE_URL has its default value" in sentence
    assert "\n" not in sentence
    assert "local-only-x" not in sentence
    WithSecret(port=1, environment="production", database_url=SecretStr("mysql://a:own@host/db"))


def test_secrets_do_not_reach_the_log(capsys: pytest.CaptureFixture[str]) -> None:
    handlers, level = logging.root.handlers[:], logging.root.level
    try:
        configure_logging("things", "INFO")
        structlog.get_logger("x").info("happened", password="hunter2", refresh_token="abc", name="Ada")
    finally:
        logging.root.handlers[:], logging.root.level = handlers, level
        structlog.reset_defaults()
    line = json.loads(capsys.readouterr().out)
    assert (line["event"], line["service"], line["name"]) == ("happened", "things", "Ada")
    assert line["password"] == line["refresh_token"] == "[redacted]"
