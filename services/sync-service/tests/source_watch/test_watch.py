"""How the watches of the stores are run and closed."""

from collections.abc import Awaitable, Callable, Mapping

import pytest

from sync_service.sinks.base import Unavailable
from sync_service.source_watch.watch import SourceWatch


class Watch:
    """`fails`: it can't be closed."""

    def __init__(self, *, fails: bool) -> None:
        self._fails = fails
        self.is_closed = False
        self.checks: Mapping[str, Callable[[], Awaitable[None]]] = {}

    async def close(self) -> None:
        if self._fails:
            raise OSError("a test")
        self.is_closed = True


async def test_check_that_fails_has_a_problem_until_it_succeeds() -> None:
    watch, is_allowed = Watch(fails=False), False

    async def check() -> None:
        if not is_allowed:
            raise Unavailable("MongoDB: this account may not watch the database shop")

    watch.checks = {"MongoDB's database shop": check}
    watches = SourceWatch([watch])
    await watches.check()
    assert watches.problems == {"MongoDB's database shop": "MongoDB: this account may not watch the database shop"}
    is_allowed = True
    await watches.check()
    assert watches.problems == {}


@pytest.mark.parametrize("failing", [0, 1])
async def test_watch_that_can_not_be_closed_leaves_no_other_open(failing: int) -> None:
    watches = [Watch(fails=number == failing) for number in range(2)]
    with pytest.raises(OSError, match="a test"):
        await SourceWatch(watches).close()
    assert [each.is_closed for each in watches] == [number != failing for number in range(2)]
