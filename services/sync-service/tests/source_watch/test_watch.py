"""How the watches of the stores are run and closed."""

from collections.abc import Awaitable, Callable, Mapping

import pytest

from sync_service.sinks.base import Unavailable
from sync_service.source_watch.watch import SourceWatch, UnfitFields


class Watch:
    """`fails`: it can't be closed."""

    def __init__(self, *, fails: bool) -> None:
        self._fails = fails
        self.is_closed = False
        self.checks: Mapping[str, Callable[[], Awaitable[None]]] = {}

    async def unfit_fields(self) -> UnfitFields:
        if self._fails:
            raise Unavailable("a test")
        return {"shop.things": {"price": "a str that is no decimal"}}

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


async def test_types_that_can_not_be_read_are_a_problem_and_no_report() -> None:
    watches = SourceWatch([Watch(fails=False)])
    assert await watches.look_at_types() == {"shop.things": {"price": "a str that is no decimal"}}
    watches = SourceWatch([Watch(fails=False), Watch(fails=True)])
    assert await watches.look_at_types() is None
    assert watches.problems == {"the types of the sources": "a test"}


@pytest.mark.parametrize("failing", [0, 1])
async def test_watch_that_can_not_be_closed_leaves_no_other_open(failing: int) -> None:
    watches = [Watch(fails=number == failing) for number in range(2)]
    with pytest.raises(OSError, match="a test"):
        await SourceWatch(watches).close()
    assert [each.is_closed for each in watches] == [number != failing for number in range(2)]
