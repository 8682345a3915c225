"""What is done once for a process that is up: not again while it runs, and again if it was cut off."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncmy
import pytest

from embedded_stack import Stack, StackConfiguration, StackError
from embedded_stack.components.base import MySQLAccount
from embedded_stack.configuration import reserved_port_offset

pytestmark = pytest.mark.integration


class SetUp:
    """Stands for what a component does when it is ready."""

    def __init__(self, stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        self.fails = False
        self.contents = b"the first declaration"
        monkeypatch.setattr(stack.components["mail"], "after_ready", self._run)
        monkeypatch.setattr(stack.components["mail"], "after_ready_reads", lambda: self.contents)

    def _run(self) -> None:
        self.count += 1
        if self.fails:
            raise StackError("cut off")


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Stack]:
    with reserved_port_offset() as offset:
        own = Stack(StackConfiguration(state_dir=tmp_path, port_offset=offset))
        yield own
        own.stop()


@pytest.fixture
def set_up(own: Stack, monkeypatch: pytest.MonkeyPatch) -> SetUp:
    return SetUp(own, monkeypatch)


def test_component_that_runs_is_not_set_up_again(own: Stack, set_up: SetUp) -> None:
    own.start("mail")
    own.start("mail")
    assert set_up.count == 1
    own.restart("mail")
    assert set_up.count == 2
    own.kill("mail")
    own.start("mail")
    assert set_up.count == 3


def test_component_whose_set_up_was_cut_off_is_set_up_by_the_next_start(own: Stack, set_up: SetUp) -> None:
    set_up.fails = True
    with pytest.raises(StackError, match="cut off"):
        own.start("mail")
    assert own.is_running("mail")
    set_up.fails = False
    own.start("mail")
    assert set_up.count == 2


def test_component_that_runs_is_set_up_for_another_declaration(own: Stack, set_up: SetUp) -> None:
    own.start("mail")
    set_up.contents = b"another declaration"
    own.start("mail")
    assert set_up.count == 2


def test_start_of_what_runs_writes_nothing_to_mysql(stack: Stack, mysql_root_url: str) -> None:
    async def binlog() -> Any:
        account = MySQLAccount.parse(mysql_root_url)
        connection = await asyncmy.connect(
            host=account.host, port=account.port, user=account.user, password=account.password
        )
        async with connection, connection.cursor() as cursor:
            await cursor.execute("SELECT local FROM performance_schema.log_status")
            return await cursor.fetchone()

    before = asyncio.run(binlog())
    stack.start("mysql")
    assert asyncio.run(binlog()) == before
