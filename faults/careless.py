"""sync-service, broken on purpose: `python -m faults.careless HOW run`. A suite that does not find it out is none.

unguarded     the guard of the apply rule is off: whatever comes last wins, however old it is
commits-first the offsets are committed when the events have been fetched, not when they have been written
"""

import sys
from collections.abc import Callable
from typing import Any

from aiokafka import AIOKafkaConsumer

from embedded_stack.components import Environment
from embedded_stack.components.services import SyncService
from embedded_stack.configuration import REPOSITORY
from embedded_stack.process import Command
from service_kit import kafka
from sync_service import cli
from sync_service.apply.ordering import ApplyMode, Version
from sync_service.sinks import mongodb, mysql


class CarelessSync(SyncService):
    """Takes the place of the stack's sync."""

    def __init__(self, environment: Environment, how: str) -> None:
        super().__init__(environment)
        self._how = how

    def command(self) -> Command:
        command = super().command()
        own = [sys.executable, "-m", "faults.careless", self._how, "run"]
        return Command(own, command.environment, REPOSITORY)


class _CommittingConsumer(AIOKafkaConsumer):  # type: ignore[misc]  # published without type information
    async def getmany(self, *partitions: Any, **options: Any) -> Any:
        fetched = await super().getmany(*partitions, **options)
        # One that reads beside the group has nothing to commit.
        if fetched and self._group_id is not None:
            await self.commit({place: records[-1].offset + 1 for place, records in fetched.items()})
        return fetched


def _unguard() -> None:
    always = dict.fromkeys(mysql._GUARDS, "(TRUE)")  # noqa: SLF001 - broken on purpose
    mysql._GUARDS.update(always)  # noqa: SLF001
    mongodb._guard = _always  # noqa: SLF001


def _always(incoming: Version, mode: ApplyMode) -> dict[str, Any]:  # noqa: ARG001 - takes the place of one that asks
    return {"$literal": True}


def _commit_first() -> None:
    kafka.AIOKafkaConsumer = _CommittingConsumer  # type: ignore[attr-defined]  # imported there, not exported


BROKEN: dict[str, Callable[[], None]] = {"unguarded": _unguard, "commits-first": _commit_first}


def main() -> None:
    how, *arguments = sys.argv[1:]
    BROKEN[how]()
    sys.argv = ["sync-service", *arguments]
    cli.main()


if __name__ == "__main__":
    main()
