"""A trial: rounds of faults under steady writes, with a full check of all data after each round."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from pymongo.errors import PyMongoError
from pymysql.err import MySQLError

from faults.catalogue import Fault
from faults.expected_state import RowId
from faults.reconcile import ReconcileFailed, reconcile
from faults.regressions import RegressionDetector
from faults.replica_diff import Difference, differences, load_copies, load_sources
from faults.report import Injection, Round
from faults.system import Gap, System
from faults.target_logs import MongoLog, MysqlLog
from faults.writers import OutcomeUnknown, Rejected, Writer, Writers

ResultT = TypeVar("ResultT")

LEAD_SECONDS = (0.3, 1.0)
RECOVERY_SECONDS = 120.0
CONVERGENCE_SECONDS = 60.0
# After a gap: if nothing changes for so long, the missing events will not arrive.
NO_PROGRESS_SECONDS = 6.0
_POLL_SECONDS = 0.1
_COMPARE_SECONDS = 0.4
_RETRY_SECONDS = 0.2


class NotRecovered(Exception):  # noqa: N818 - a state of the system
    """A new account or tweet did not reach the other store in time."""


@dataclass
class Inconsistencies:
    """`lost`: rows in no acceptable state; `missing_dead_letters`: markers of poison."""

    lost: dict[RowId, str]
    differences: list[Difference]
    missing_dead_letters: set[str]

    def __bool__(self) -> bool:
        return bool(self.lost or self.differences or self.missing_dead_letters)


@dataclass
class Trial:
    """`convergence_seconds`: how long the copies may take to equal their sources."""

    system: System
    writers: Writers
    say: Callable[[str], None]
    convergence_seconds: float = CONVERGENCE_SECONDS
    regressions: RegressionDetector = field(default_factory=RegressionDetector)
    repaired: int = 0
    compared: int = 0
    _failures: list[str] = field(default_factory=list)
    _reported: set[str] = field(default_factory=set)

    @classmethod
    def begin(
        cls, system: System, rng: random.Random, say: Callable[[str], None], *, writers: int, rate: float
    ) -> "Trial":
        """Start the writers. `rate`: writes per second of all writers together."""
        started = [Writer(system.client, random.Random(rng.random()), pause=writers / rate) for _ in range(writers)]
        trial = cls(system, Writers(started), say)
        trial._open_logs()
        trial.writers.start()
        return trial

    def _open_logs(self) -> None:
        databases, routes = self.system.databases, self.system.routes
        self._logs = (MysqlLog(databases, routes, self.regressions), MongoLog(databases, routes, self.regressions))

    async def round(self, faults: Sequence[Fault], rng: random.Random) -> Round:
        """Inject the faults in sequence, wait for recovery, pause the writers and check all data."""
        await asyncio.sleep(rng.uniform(*LEAD_SECONDS))
        injections, lifted = [], time.monotonic()
        before = await self._counted()
        for fault in faults:
            lifted = await fault.inject(self.system, rng)
            injections.append((fault.name, before))
            before = await self._counted()
        try:
            await self._recover()
        except NotRecovered as error:
            return Round([Injection(name) for name, _ in injections], None, [f"not recovered: {error}"])
        recovery = time.monotonic() - lifted
        violations = await self.inspect()
        ends = [counted for _, counted in injections[1:]] + [await self._counted()]
        return Round(
            [
                Injection(name, events=sum((after - began).values()), duplicates=(after - began)["skipped"])
                for (name, began), after in zip(injections, ends, strict=True)
            ],
            recovery,
            violations,
        )

    async def _counted(self) -> Counter[str]:
        await self.system.counts.sample()
        return self.system.counts.total

    async def _recover(self) -> None:
        """Create an account and a tweet, and wait for both in the other store. Raises `NotRecovered`."""
        try:
            async with asyncio.timeout(RECOVERY_SECONDS):
                account = await self._retry(self.system.client.register)
                tweet = await self._retry(partial(self.system.client.tweet, account, "Probe of recovery"))
                await asyncio.gather(self._arrived("users", account.id), self._arrived("tweets", tweet.id))
        except TimeoutError as error:
            raise NotRecovered(f"a new account or tweet did not arrive within {RECOVERY_SECONDS:g} s") from error

    async def _arrived(self, copy: str, key: str) -> None:
        def exists() -> bool:
            if copy == "users":
                (route,) = (each for each in self.system.routes if each.name == copy)
                return self.system.databases.copies(route)[copy].find_one({"_id": key}) is not None
            return bool(self.system.databases.query(f"SELECT 1 FROM tweets.{copy} WHERE id = %s", key))  # noqa: S608

        while True:
            try:
                if await asyncio.to_thread(exists):
                    return
            except (PyMongoError, MySQLError):
                pass
            await asyncio.sleep(_POLL_SECONDS)

    async def _retry(self, attempt: Callable[[], Awaitable[ResultT]]) -> ResultT:
        while True:
            try:
                return await attempt()
            except (Rejected, OutcomeUnknown):
                await asyncio.sleep(_RETRY_SECONDS)

    async def inspect(self) -> list[str]:
        """Pause the writers and check all data. Return the violations that were not reported before."""
        async with self.writers.paused():
            found = await self._wait_for_convergence()
            if gap := self.system.gap:
                found = await self._repair(found, gap)
            await asyncio.to_thread(self._read_target_logs)
        dead_letters = self.system.dead_letters
        violations = [*_lost(found), *map(_differs, found.differences)]
        violations += [f"regression: {each}" for each in self.regressions.found]
        violations += [
            f"poison ({dead_letters.expected[marker]}) without a dead letter: {marker}"
            for marker in found.missing_dead_letters
        ]
        violations += [f"dead letter of a valid record: {each}" for each in dead_letters.unexpected]
        violations += [f"unexpected response: {each}" for each in self.system.expected.unexpected]
        violations += self._failures
        new = [each for each in violations if each not in self._reported]
        self._reported.update(new)
        return new

    async def _wait_for_convergence(self) -> Inconsistencies:
        """Compare until there are no new inconsistencies, or until the deadline."""
        deadline = time.monotonic() + self.convergence_seconds
        unchanged_since, before = time.monotonic(), None
        while True:
            await self.system.dead_letters.read()
            found = await asyncio.to_thread(self._compare)
            if not found:
                return found
            now = time.monotonic()
            if found != before:
                unchanged_since, before = now, found
            no_progress = self.system.gap is not None and now - unchanged_since > NO_PROGRESS_SECONDS
            if now > deadline or no_progress or self._is_known(found):
                return found
            await asyncio.sleep(_COMPARE_SECONDS)

    def _is_known(self, found: Inconsistencies) -> bool:
        return (
            not found.missing_dead_letters
            and all(map(self._was_reported, found.differences))
            and self._reported.issuperset(_lost(found))
        )

    def _compare(self) -> Inconsistencies:
        databases, routes = self.system.databases, self.system.routes
        sources, copies = load_sources(databases, routes), load_copies(databases, routes)
        self.compared = sum(map(len, copies.values()))
        return Inconsistencies(
            self.system.expected.lost(sources), differences(routes, sources, copies), self.system.dead_letters.missing
        )

    async def _repair(self, found: Inconsistencies, gap: Gap) -> Inconsistencies:
        """Repair the rows of a gap by `sync-service reconcile --repair`.

        After a snapshot only deletes are missing: without an extra row a missing or different one is a violation.
        """
        self.system.gap = None
        new = [each for each in found.differences if not self._was_reported(each)]
        if not [each for each in new if gap is Gap.EVENTS or each.kind == "extra"]:
            return found
        try:
            output = await reconcile(self.system)
        except ReconcileFailed as error:
            self._failures.append(f"reconcile: {error}")
            return found
        remaining = await self._wait_for_convergence()
        if remaining:
            self.say(output)
        self.repaired += len(found.differences) - len(remaining.differences)
        return remaining

    def _was_reported(self, difference: Difference) -> bool:
        return _differs(difference) in self._reported

    def _read_target_logs(self) -> None:
        for log in self._logs:
            log.read()


def _lost(found: Inconsistencies) -> list[str]:
    return [f"lost from {table}: {key} {state}" for (table, key), state in found.lost.items()]


def _differs(difference: Difference) -> str:
    return f"copy differs: {difference}"
