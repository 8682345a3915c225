"""A component is set up once for each process, and again if the set-up was interrupted or its inputs changed."""

import asyncio
from typing import Any

import asyncmy
import pytest

from embedded_stack import Stack, StackError
from embedded_stack.components.base import MySQLAccount

pytestmark = pytest.mark.integration


class SetUp:
    """Replaces the set-up of the mail sink."""

    def __init__(self, stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        self.fails = False
        self.contents = b"the first declaration"
        monkeypatch.setattr(stack.components["mail"], "after_ready", self._run)
        monkeypatch.setattr(stack.components["mail"], "after_ready_inputs", lambda: self.contents)

    def _run(self) -> None:
        self.count += 1
        if self.fails:
            raise StackError("interrupted")


@pytest.fixture
def set_up(own_stack: Stack, monkeypatch: pytest.MonkeyPatch) -> SetUp:
    return SetUp(own_stack, monkeypatch)


def test_running_component_is_not_set_up_again(own_stack: Stack, set_up: SetUp) -> None:
    own_stack.start("mail")
    own_stack.start("mail")
    assert set_up.count == 1
    own_stack.restart("mail")
    assert set_up.count == 2
    own_stack.kill("mail")
    own_stack.start("mail")
    assert set_up.count == 3


def test_interrupted_set_up_is_repeated_by_the_next_start(own_stack: Stack, set_up: SetUp) -> None:
    set_up.fails = True
    with pytest.raises(StackError, match="interrupted"):
        own_stack.start("mail")
    assert own_stack.is_running("mail")
    set_up.fails = False
    own_stack.start("mail")
    assert set_up.count == 2


def test_running_component_is_set_up_again_for_changed_inputs(own_stack: Stack, set_up: SetUp) -> None:
    own_stack.start("mail")
    set_up.contents = b"another declaration"
    own_stack.start("mail")
    assert set_up.count == 2


def test_start_of_a_running_mysql_writes_nothing(stack: Stack, mysql_root_url: str) -> None:
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
