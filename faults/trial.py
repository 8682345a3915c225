"""One trial: rounds of faults under steady writes, and behind each round the proof that nothing was lost."""

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
from faults.copies import Difference, differences, load_copies, load_sources
from faults.journal import RowId
from faults.logs import MongoLog, MysqlLog
from faults.progress import Progress
from faults.reconciling import CannotReconcile, reconcile
from faults.report import Injection, Round
from faults.system import Gap, System
from faults.writers import Refused, Unknown, Writer, Writers

ResultT = TypeVar("ResultT")

LEAD_SECONDS = (0.3, 1.0)
RECOVERY_SECONDS = 120.0
SETTLING_SECONDS = 60.0
# What is in a gap is not coming any more when nothing has changed for so long.
HOPELESS_SECONDS = 6.0
_LOOK_SECONDS = 0.1
_COMPARE_SECONDS = 0.4
_RETRY_SECONDS = 0.2


class NotRecovered(Exception):  # noqa: N818 - a state of the system
    """A new account or a new tweet has not reached the other store in time."""


@dataclass
class Settled:
    """What is wrong although everything has come to rest; all empty if nothing is."""

    lost: dict[RowId, str]
    differences: list[Difference]
    letters: set[str]

    @property
    def sound(self) -> bool:
        return not (self.lost or self.differences or self.letters)


@dataclass
class Trial:
    """`settling` is how many seconds the copies have to become equal to their sources."""

    system: System
    writers: Writers
    say: Callable[[str], None]
    settling: float = SETTLING_SECONDS
    progress: Progress = field(default_factory=Progress)
    mended: int = 0
    compared: int = 0
    _failures: list[str] = field(default_factory=list)
    _reported: set[str] = field(default_factory=set)

    @classmethod
    def begin(
        cls, system: System, rng: random.Random, say: Callable[[str], None], *, writers: int, rate: float
    ) -> "Trial":
        """`rate` is writes a second, of all writers together."""
        people = [Writer(system.client, random.Random(rng.random()), pause=writers / rate) for _ in range(writers)]
        trial = cls(system, Writers(people), say)
        trial._open_logs()
        trial.writers.start()
        return trial

    def _open_logs(self) -> None:
        databases, routes = self.system.databases, self.system.routes
        self._logs = (MysqlLog(databases, routes, self.progress), MongoLog(databases, routes, self.progress))

    async def round(self, faults: Sequence[Fault], rng: random.Random) -> Round:
        """Inject one after the other, wait until the system works again, hold the writers and look at everything."""
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
        wrong = await self.inspect()
        ends = [counted for _, counted in injections[1:]] + [await self._counted()]
        return Round(
            [
                Injection(name, events=sum((after - began).values()), duplicates=(after - began)["skipped"])
                for (name, began), after in zip(injections, ends, strict=True)
            ],
            recovery,
            wrong,
        )

    async def _counted(self) -> Counter[str]:
        await self.system.counts.look()
        return self.system.counts.total

    async def _recover(self) -> None:
        """An account and a tweet, made now, in the other store. Raises `NotRecovered`."""
        try:
            async with asyncio.timeout(RECOVERY_SECONDS):
                account = await self._insist(self.system.client.register)
                tweet = await self._insist(partial(self.system.client.tweet, account, "Is anybody there?"))
                await asyncio.gather(self._arrived("users", account.id), self._arrived("tweets", tweet.id))
        except TimeoutError as error:
            raise NotRecovered(f"a new account or tweet did not arrive within {RECOVERY_SECONDS:g} s") from error

    async def _arrived(self, copy: str, key: str) -> None:
        def look() -> bool:
            if copy == "users":
                return self.system.databases.documents[copy].find_one({"_id": key}) is not None
            return bool(self.system.databases.query(f"SELECT 1 FROM tweets.{copy} WHERE id = %s", key))  # noqa: S608

        while True:
            try:
                if await asyncio.to_thread(look):
                    return
            except (PyMongoError, MySQLError):
                pass
            await asyncio.sleep(_LOOK_SECONDS)

    async def _insist(self, attempt: Callable[[], Awaitable[ResultT]]) -> ResultT:
        while True:
            try:
                return await attempt()
            except (Refused, Unknown):
                await asyncio.sleep(_RETRY_SECONDS)

    async def inspect(self) -> list[str]:
        """Everything that is wrong and was not before, with the writers held."""
        async with self.writers.still():
            settled = await self._settle()
            if gap := self.system.gap:
                settled = await self._mend(settled, gap)
            await asyncio.to_thread(self._read_logs)
        letters, journal = self.system.letters, self.system.journal
        wrong = [f"lost from {table}: {key} {how}" for (table, key), how in settled.lost.items()]
        wrong += map(_finding, settled.differences)
        wrong += [f"went back: {each}" for each in self.progress.back]
        wrong += [f"poison ({letters.expected[marker]}) is no dead letter: {marker}" for marker in settled.letters]
        wrong += [f"dead letter that is no poison: {each}" for each in letters.foreign]
        wrong += [f"unexpected answer: {each}" for each in journal.surprises]
        wrong += self._failures
        new = [each for each in wrong if each not in self._reported]
        self._reported.update(new)
        return new

    async def _settle(self) -> Settled:
        """Look until nothing is wrong any more, or time is over. What was reported before is not waited for."""
        deadline = time.monotonic() + self.settling
        unchanged_since, before = time.monotonic(), None
        while True:
            await self.system.letters.read()
            settled = await asyncio.to_thread(self._look)
            if settled.sound:
                return settled
            now = time.monotonic()
            if settled != before:
                unchanged_since, before = now, settled
            hopeless = self.system.gap is not None and now - unchanged_since > HOPELESS_SECONDS
            if now > deadline or hopeless or self._is_known(settled):
                return settled
            await asyncio.sleep(_COMPARE_SECONDS)

    def _is_known(self, settled: Settled) -> bool:
        return (
            not settled.letters
            and all(map(self._was_reported, settled.differences))
            and all(f"lost from {table}: {key} {how}" in self._reported for (table, key), how in settled.lost.items())
        )

    def _look(self) -> Settled:
        databases, routes = self.system.databases, self.system.routes
        sources, copies = load_sources(databases, routes), load_copies(databases, routes)
        self.compared = sum(map(len, copies.values()))
        return Settled(
            self.system.journal.lost(sources), differences(routes, sources, copies), self.system.letters.missing
        )

    async def _mend(self, settled: Settled, gap: Gap) -> Settled:
        """What was in the gap has reached no copy; `sync-service reconcile --repair` mends the rows. After a snapshot
        these are deleted rows only: a missing or different one is a violation.
        """
        self.system.gap = None
        new = [each for each in settled.differences if not self._was_reported(each)]
        if not [each for each in new if gap is Gap.EVENTS or each.kind == "extra"]:
            return settled
        try:
            said = await reconcile(self.system)
        except CannotReconcile as error:
            self._failures.append(f"reconcile: {error}")
            return settled
        mended = await self._settle()
        if not mended.sound:
            self.say(said)
        self.mended += len(settled.differences) - len(mended.differences)
        return mended

    def _was_reported(self, difference: Difference) -> bool:
        return _finding(difference) in self._reported

    def _read_logs(self) -> None:
        for log in self._logs:
            log.read()


def _finding(difference: Difference) -> str:
    return f"copy differs: {difference}"
