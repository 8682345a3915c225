"""Reasons of failures have no values of rows: they reach the log, `/readyz`, `/v1/status` and MySQL's `sync_stops`."""

import asyncio
from contextlib import AsyncExitStack
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import ConsumerRecord, TopicPartition
from asyncmy.errors import DataError, ProgrammingError
from asyncmy.errors import IntegrityError as DuplicateEntry
from asyncmy.errors import OperationalError as NotDone
from pymongo.errors import (
    AutoReconnect,
    BulkWriteError,
    DuplicateKeyError,
    NotPrimaryError,
    OperationFailure,
    ServerSelectionTimeoutError,
)
from sqlalchemy.exc import DBAPIError, IntegrityError, StatementError
from structlog.testing import capture_logs

from sync_service.apply.stops import RouteStopped
from sync_service.kafka import partition
from sync_service.kafka.deadlines import answering
from sync_service.proof.prover import Prover
from sync_service.sinks.base import Unavailable
from sync_service.sinks.mongodb import errors as mongodb
from sync_service.sinks.mysql import errors as mysql
from sync_service.sinks.mysql import table

pytestmark = pytest.mark.unit

ADDRESS = "ada@example.com"
ROW = {"q": {"_id": 1}, "u": {"$set": {"email": ADDRESS}}}
DUPLICATE = DuplicateEntry(1062, f"Duplicate entry '{ADDRESS}' for key 'users.email'")
WRITE_ERROR = {"index": 0, "code": 11000, "errmsg": "E11000 duplicate key", "keyPattern": {"_id": 1}, "op": ROW}
IN_FAILOVER = {"code": 91, "errmsg": f'Replication is being shut down {{ op: "{ADDRESS}" }}', "errInfo": ROW}
# An error of a driver that the code does not expect, and what is reported of it.
UNEXPECTED: list[tuple[Exception, str]] = [
    (IntegrityError("INSERT INTO users", {"email": ADDRESS}, DUPLICATE), "IntegrityError 1062"),
    (DuplicateKeyError(f'E11000 dup key: {{ email: "{ADDRESS}" }}', 11000), "DuplicateKeyError 11000"),
    (BulkWriteError({"writeErrors": [WRITE_ERROR]}), "BulkWriteError 65"),
    (ExceptionGroup("several", [DUPLICATE]), "ExceptionGroup: several (1 sub-exception)"),
    (KeyError("id"), "KeyError: 'id'"),
]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (
            BulkWriteError({"writeErrors": [WRITE_ERROR], "writeConcernErrors": [IN_FAILOVER]}),
            "MongoDB: 91: Replication is being shut down",
        ),
        (BulkWriteError({"writeErrors": [WRITE_ERROR]}), "MongoDB: BulkWriteError: documents exist already"),
        (
            NotPrimaryError("not primary", {"code": 10107, "errmsg": "not primary", "op": ROW}),
            "MongoDB: NotPrimaryError: not primary",
        ),
        (OperationFailure("failed", details={"ok": 0, "op": ROW}), "MongoDB: OperationFailure: failed"),
        (
            OperationFailure("x", 59999, {"errmsg": f'error processing query: ns=a.b Tree: _id $eq "{ADDRESS}"'}),
            "MongoDB: 59999: error processing query: ns=a.b",
        ),
        (
            AutoReconnect("10.0.0.5:27017: connection closed"),
            "MongoDB: AutoReconnect: 10.0.0.5:27017: connection closed",
        ),
        (
            ServerSelectionTimeoutError("db:27017: refused (configured timeouts: 2 s), Timeout: 2 s, <Topology>"),
            "MongoDB: ServerSelectionTimeoutError: db:27017: refused",
        ),
    ],
)
def test_reason_of_mongodb_has_no_values(error: Exception, reason: str) -> None:
    assert str(mongodb.translated(error)) == reason


MYSQL = [
    (DUPLICATE, "1062: Duplicate entry for key 'users.email'"),
    (
        DataError(60000, f"Odd value: '{ADDRESS}' for column 'email' at row 1"),
        "60000: Odd value for column 'email' at row 1",
    ),
    (
        DuplicateEntry(
            1761,
            f"Foreign key constraint for table 'users', record '{ADDRESS}-7' would lead to a duplicate entry in table "
            "'posts', key 'author'",
        ),
        "1761: Foreign key constraint for table 'users', record",
    ),
    (
        DataError(
            3617, "Latitude 95.250000 is out of range in function st_srid. It must be within [-90.000000, 90.000000]."
        ),
        "3617: Latitude … is out of range in function st_srid. It must be within […, …].",
    ),
    (
        DataError(
            3731,
            "A parameter of function st_srid contains a geometry with longitude -181.500000, which is out of range.",
        ),
        "3731: A parameter of function st_srid contains a geometry with longitude …, which is out of range.",
    ),
    (DataError(1048, "Column 'email' cannot be null"), "1048: Column 'email' cannot be null"),
    (
        ProgrammingError(1064, f"You have an error in your SQL syntax; use near '{ADDRESS}') AS new' at line 1"),
        "1064: You have an error in your SQL syntax; use near",
    ),
    (
        ProgrammingError(1142, "INSERT command denied to user 'sync'@'db' for table 'users'"),
        "1142: INSERT command denied to user 'sync'@'db' for table 'users'",
    ),
    (
        NotDone(2013, "Lost connection to MySQL server during query"),
        "2013: Lost connection to MySQL server during query",
    ),
]


@pytest.mark.parametrize(("orig", "reason"), MYSQL)
async def test_reason_of_mysql_has_no_values(orig: Exception, reason: str) -> None:
    error = DBAPIError("INSERT INTO users", {"email": ADDRESS}, orig)
    assert str(mysql.translated(error)).removeprefix("MySQL: ") == reason
    # What is kept about topics, and the rows of a comparison.
    with pytest.raises(Unavailable) as unanswered:
        async with answering():
            raise error
    assert str(unanswered.value) == f"MySQL: {reason}"
    assert table._reason(error) == reason


async def test_error_of_sqlalchemy_itself_is_its_class() -> None:
    error = StatementError(ADDRESS, "INSERT INTO users", {"email": ADDRESS}, None)
    assert str(mysql.translated(error)) == "MySQL: StatementError"
    assert table._reason(error) == "StatementError"


@pytest.mark.parametrize(("error", "shown"), UNEXPECTED)
async def test_unexpected_error_of_a_batch_stops_its_route_without_values(
    error: Exception, shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(partition, "ATTEMPTS", 2)
    statistics = SimpleNamespace(blocked={})
    processor: Any = SimpleNamespace(
        route=SimpleNamespace(name="users"), statistics=statistics, excluded=None, apply=fail
    )
    stopped: asyncio.Future[RouteStopped] = asyncio.get_running_loop().create_future()
    worker = partition.PartitionWorker(
        TopicPartition("users", 0),
        processor,
        "id",
        on_done=lambda _: None,
        on_room=lambda: None,
        on_stopped=stopped.set_result,
    )
    worker.start_at(0, commit=False)
    with capture_logs() as logs:
        worker.accept([ConsumerRecord("users", 0, 0, 0, 0, b"", b"", None, 0, 0, ())])
        assert str(await stopped) == f"unexpected error: {shown}"
    await worker.close()
    assert {each["reason"] for each in logs if each["event"] == "a batch fails"} == {shown}


@pytest.mark.parametrize(("error", "shown"), UNEXPECTED)
async def test_unexpected_error_of_a_proof_is_reported_without_values(
    error: Exception, shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        raise error

    reported: list[str] = []

    async def report(_route: str, problem: str) -> None:
        reported.append(problem)

    monkeypatch.setattr(Prover, "_prover", fail)
    prover = Prover.__new__(Prover)
    prover._problems = {}
    stores: Any = None
    route: Any = SimpleNamespace(name="users")
    store: Any = SimpleNamespace(report=report)
    async with AsyncExitStack() as cleanup:
        await prover._step(route, {}, store, stores, cleanup)
    assert reported == [f"unexpected error: {shown}"]
