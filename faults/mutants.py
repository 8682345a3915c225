"""Mutants: sync-service with a defect built in, `python -m faults.mutants NAME run`. The suite must detect each.

unguarded     the guard of the apply rule is off: the last event wins, however old it is
commits-first offsets are committed after the fetch, before the write
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
from sync_service.sinks.mongodb import sink as mongodb_sink
from sync_service.sinks.mysql import sink as mysql_sink


class MutantSync(SyncService):
    """Replaces the stack's sync-service by a mutant."""

    def __init__(self, environment: Environment, mutant: str) -> None:
        super().__init__(environment)
        self._mutant = mutant

    def command(self) -> Command:
        command = super().command()
        own = [sys.executable, "-m", "faults.mutants", self._mutant, "run"]
        return Command(own, command.environment, REPOSITORY)


class _CommittingConsumer(AIOKafkaConsumer):  # type: ignore[misc]  # published without type information
    async def getmany(self, *partitions: Any, **options: Any) -> Any:
        fetched = await super().getmany(*partitions, **options)
        # A consumer without a group has no offsets to commit.
        if fetched and self._group_id is not None:
            await self.commit({place: records[-1].offset + 1 for place, records in fetched.items()})
        return fetched


def _unguard() -> None:
    always = dict.fromkeys(mysql_sink._GUARDS, "(TRUE)")  # noqa: SLF001 - the defect
    mysql_sink._GUARDS.update(always)  # noqa: SLF001
    mongodb_sink._guard = _always  # noqa: SLF001


def _always(incoming: Version, mode: ApplyMode) -> dict[str, Any]:  # noqa: ARG001 - the signature of the function that it replaces
    return {"$literal": True}


def _commit_first() -> None:
    kafka.AIOKafkaConsumer = _CommittingConsumer  # type: ignore[attr-defined]  # imported there, not exported


DEFECTS: dict[str, Callable[[], None]] = {"unguarded": _unguard, "commits-first": _commit_first}


def main() -> None:
    mutant, *arguments = sys.argv[1:]
    DEFECTS[mutant]()
    sys.argv = ["sync-service", *arguments]
    cli.main()


if __name__ == "__main__":
    main()
