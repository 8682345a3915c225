"""Whose fault each error code of both servers is, and that the tables of codes are complete."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from embedded_stack import Stack
from embedded_stack.components.mysql import mysqld_on_path
from embedded_stack.fetch.debian import MYSQL, debian_prefix
from service_kit.mongodb_errors import DEPENDENCY_CODES
from sync_service.sinks.errors import Fault
from sync_service.sinks.mongodb import errors as mongodb
from sync_service.sinks.mysql import errors as mysql

TABLES = Path(__file__).parent / "error_codes"
# The codes that MySQL has for clients. The others are those of the server's log.
CLIENT_CODES = (*range(1000, 2000), *range(3000, 7000))


def table(name: str) -> dict[int, tuple[str, str]]:
    """Name and fault by code."""
    lines = [line.split() for line in (TABLES / name).read_text().splitlines() if not line.startswith("#")]
    return {int(code): (name, fault) for code, name, fault in lines}


def expected(fault: str) -> Fault:
    return Fault.UNKNOWN if fault == "-" else Fault(fault)


def test_every_code_of_mysql_has_the_fault_of_the_table() -> None:
    codes = table("mysql.txt")
    wrong = {code: each for code, each in codes.items() if mysql.fault_of(code) is not expected(each[1])}
    assert wrong == {}
    assert {*mysql.ROW_CODES, *mysql.ROUTE_CODES, *mysql.DEPENDENCY_CODES} <= codes.keys()


EXISTS = {"index": 3, "code": 11000, "keyPattern": {"_id": 1}, "errmsg": "E11000 duplicate key"}
OF_ANOTHER_INDEX = {**EXISTS, "keyPattern": {"email": 1}}
CUT_OFF = {"code": 64, "errmsg": "waiting for replication timed out"}


@pytest.mark.parametrize(
    ("details", "existing"),
    [
        ({"writeErrors": [EXISTS], "writeConcernErrors": []}, [3]),
        ({"writeErrors": [EXISTS, OF_ANOTHER_INDEX]}, None),
        ({"writeErrors": [EXISTS], "writeConcernErrors": [CUT_OFF]}, None),
        ({"writeErrors": [], "writeConcernErrors": [CUT_OFF]}, None),
    ],
)
def test_only_documents_that_exist_are_written_in_another_way(
    details: dict[str, Any], existing: list[int] | None
) -> None:
    """If the other inserts may be rolled back, the whole write is repeated."""
    assert mongodb.existing_documents(details) == existing


def test_every_code_of_mongodb_has_the_fault_of_the_table() -> None:
    codes = table("mongodb.txt")
    wrong = {code: each for code, each in codes.items() if mongodb.fault_of(code) is not expected(each[1])}
    assert wrong == {}
    # Two places of the server's source have codes of their own for a document that is too large.
    listed = {*mongodb.ROW_CODES, *mongodb.ROUTE_CODES, *DEPENDENCY_CODES}
    assert listed - codes.keys() == {17419, 17420}


@pytest.mark.parametrize("module", [mysql, mongodb])
def test_no_code_has_two_faults(module: object) -> None:
    lists = [getattr(module, name) for name in ("ROW_CODES", "ROUTE_CODES", "DEPENDENCY_CODES")]
    assert sum(map(len, lists)) == len(frozenset().union(*lists))


@pytest.mark.parametrize(
    ("code", "fault"), [(2006, Fault.DEPENDENCY), (2013, Fault.DEPENDENCY), (2020, Fault.ROW), (60000, Fault.UNKNOWN)]
)
def test_codes_of_the_client_library_are_about_the_connection(code: int, fault: Fault) -> None:
    assert mysql.fault_of(code) is fault


def test_table_has_every_code_of_the_mysql_that_runs(stack: Stack, mysql_root_url: str) -> None:
    """A newer server with new codes fails here, so that they get a fault."""
    command = _perror(stack)
    listed = subprocess.run([*command, *map(str, CLIENT_CODES)], capture_output=True, text=True, check=False).stdout
    names = {int(code): name for code, name in re.findall(r"MY-(\d+) \((\w+)\)", listed)}
    current = {code: name for code, name in names.items() if not name.startswith(("OBSOLETE_", "UNUSED"))}
    assert len(current) > 1000
    known = {code: name for code, (name, _) in table("mysql.txt").items()}
    assert {code: name for code, name in current.items() if known.get(code) != name} == {}


def _perror(stack: Stack) -> list[str]:
    if mysqld_on_path() is not None:
        program = shutil.which("perror")
        assert program is not None
        return [program]
    environment = stack.components["mysql"].environment
    return debian_prefix(environment.cache, MYSQL).command("usr/bin/perror")
