"""Logs have no values that the errors of databases quote."""

import json
import logging
import sys

import pytest
import structlog
from asyncmy.errors import IntegrityError as DuplicateEntry
from asyncmy.errors import OperationalError as LostConnection
from bson import encode
from bson.errors import InvalidDocument
from pymongo.errors import AutoReconnect, BulkWriteError, DuplicateKeyError, OperationFailure
from sqlalchemy.exc import IntegrityError, OperationalError, StatementError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from service_kit.error_texts import error_text
from support.logs import configured_logging

pytestmark = pytest.mark.unit

ADDRESS = "ada@example.com"
REFUSED = OperationFailure(f"not authorized on tweets to execute command {{ insert: '{ADDRESS}' }}", 13)
DUPLICATE = DuplicateEntry(1062, f"Duplicate entry '{ADDRESS}' for key 'users.email'")
WRITTEN = {"writeErrors": [{"index": 0, "code": 121, "errmsg": "invalid", "op": {"email": ADDRESS}}]}
WITH_VALUES = [
    (REFUSED, "OperationFailure 13"),
    (
        DuplicateKeyError(f'E11000 duplicate key error dup key: {{ email: "{ADDRESS}" }}', 11000),
        "DuplicateKeyError 11000",
    ),
    (BulkWriteError(WRITTEN), "BulkWriteError 65"),
    (DUPLICATE, "IntegrityError 1062"),
    (IntegrityError("INSERT INTO users", {"email": ADDRESS}, DUPLICATE), "IntegrityError 1062"),
    (StatementError(ADDRESS, "INSERT INTO users", {"email": ADDRESS}, ValueError(ADDRESS)), "StatementError"),
    (StatementError(ADDRESS, "INSERT INTO users", {"email": ADDRESS}, None), "StatementError"),
]
WITHOUT_VALUES = [
    AutoReconnect("127.0.0.1:27017: connection closed"),
    PoolTimeoutError("QueuePool limit of size 10 overflow 0 reached"),
    OperationalError("SELECT 1", {}, LostConnection(2013, "Lost connection to MySQL server during query")),
    ValueError("not a number"),
]


@pytest.mark.parametrize(("error", "text"), WITH_VALUES)
def test_error_with_values_is_its_class_and_code(error: Exception, text: str) -> None:
    assert error_text(error) == text


@pytest.mark.parametrize("error", WITHOUT_VALUES)
def test_error_without_values_has_its_message(error: Exception) -> None:
    assert error_text(error) == repr(error)


def test_error_of_a_group_with_values_is_its_class_and_code() -> None:
    group = ExceptionGroup("several", [REFUSED, ExceptionGroup("inner", [DUPLICATE, ValueError("not a number")])])
    inner = "ExceptionGroup('inner', [IntegrityError 1062, ValueError('not a number')])"
    assert error_text(group) == f"ExceptionGroup('several', [OperationFailure 13, {inner}])"


def test_document_that_can_not_be_encoded_is_not_quoted() -> None:
    with pytest.raises(InvalidDocument) as raised:
        encode({"email": {ADDRESS}})
    assert error_text(raised.value) == "InvalidDocument"


@pytest.mark.parametrize("logger", ["structlog", "logging"])
def test_traceback_in_the_log_quotes_no_values(logger: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither those of causes nor of the members of groups, which have their frames all the same."""

    def write() -> None:
        raise IntegrityError("INSERT INTO users", {"email": ADDRESS}, DUPLICATE) from DUPLICATE

    def fail() -> None:
        try:
            write()
        except IntegrityError as error:
            raise ExceptionGroup("several", [REFUSED, ValueError("not a number")]) from error

    with configured_logging():
        try:
            fail()
        except ExceptionGroup:
            if logger == "logging":
                logging.getLogger("uvicorn.error").exception("failed")
            else:
                structlog.get_logger("x").error("failed", exc_info=sys.exc_info())
    (line,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert ADDRESS not in line["exception"]
    for shown in ("in fail", "[IntegrityError 1062]", "[OperationFailure 13]", "ValueError: not a number"):
        assert shown in line["exception"]
