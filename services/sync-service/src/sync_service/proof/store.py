"""The proven ranges in MySQL, beside the copies of the sync."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from sync_service.kafka import gaps
from sync_service.kafka.deadlines import answering
from sync_service.proof.ranges import ProvenRange, ProvenRanges, RangeChange
from sync_service.routes.config import Route


@dataclass(frozen=True, slots=True)
class Proof:
    """What is proven of a route's copy, and since when.

    `rows` of the source were found equal in the latest comparison of their range, `different` were not. `source_rows`
    is the estimated number of all. `oldest_at` is the time of the oldest proof; None until every range was proven once.
    `problem` is why ranges can't be compared at the moment.
    """

    rows: int
    different: int
    source_rows: int
    oldest_at: datetime | None
    problem: str | None

    @property
    def age_seconds(self) -> float | None:
        """The age of the oldest proof by this process's clock; None until every range was proven once."""
        if self.oldest_at is None:
            return None
        return max(0.0, (datetime.now(UTC) - self.oldest_at).total_seconds())

    @property
    def share(self) -> float:
        """The proven share of the rows, between 0 and 1."""
        compared = self.rows + self.different
        # The estimate may be too low, but it is known that something is missing.
        known = compared if self.oldest_at is not None else max(compared + 1, self.source_rows)
        return self.rows / known if known else 1.0


def differs(proof: Proof | None) -> bool:
    """Has a comparison found rows that differ?"""
    return proof is not None and proof.different > 0


class ProofStore:
    """All methods raise `Unavailable`."""

    def __init__(self, engine: AsyncEngine) -> None:
        # The engine of the sinks commits each statement.
        self._engine = engine.execution_options(isolation_level="READ COMMITTED")

    async def load(self, route: Route) -> ProvenRanges:
        """The ranges of the route. If it compares other fields than before, nothing is proven."""
        definition = _definition(route)
        async with answering(), self._engine.begin() as connection:
            stored = await connection.scalar(_SELECT_DEFINITION, {"route": route.name})
            if stored != definition:
                await connection.execute(_DELETE_RANGES, {"route": route.name})
                await connection.execute(_SET_DEFINITION, {"route": route.name, "definition": definition})
                return ProvenRanges()
            rows = await connection.execute(_SELECT_RANGES, {"route": route.name})
            return ProvenRanges(
                [
                    ProvenRange(row.number, row.upper_bound, row.source_rows, row.different_rows, _utc(row.proven_at))
                    for row in rows
                ]
            )

    async def change(self, route: str, change: RangeChange) -> None:
        async with answering(), self._engine.begin() as connection:
            if change.deleted:
                await connection.execute(
                    _DELETE_RANGE, [{"route": route, "number": number} for number in change.deleted]
                )
            await connection.execute(_STORE_RANGE, [_values(route, each) for each in change.stored])

    async def note(self, route: str, *, source_rows: int) -> None:
        """The route can be compared, and has about this number of rows."""
        async with answering(), self._engine.begin() as connection:
            await connection.execute(_NOTE, {"route": route, "rows": source_rows})

    async def report(self, route: str, problem: str) -> None:
        async with answering(), self._engine.begin() as connection:
            await connection.execute(_REPORT, {"route": route, "problem": problem[:500]})

    async def end_doubt(self, route: Route, proven_since: datetime) -> int:
        """Delete the gaps that were found before every row was proven equal. Returns their number.

        None are deleted if the stored ranges are those of another definition of the route by now.
        """
        async with answering(), self._engine.begin() as connection:
            if await connection.scalar(_SELECT_DEFINITION, {"route": route.name}) != _definition(route):
                return 0
            return await gaps.forget(self._engine, route.topic, before=proven_since.replace(tzinfo=None))

    async def now(self) -> datetime:
        """By the clock of the database."""
        async with answering(), self._engine.connect() as connection:
            moment: datetime = (await connection.execute(text("SELECT UTC_TIMESTAMP(6)"))).scalar_one()
            return moment.replace(tzinfo=UTC)

    async def proofs(self) -> Mapping[str, Proof]:
        """By the name of the route."""
        async with answering(), self._engine.connect() as connection:
            rows = await connection.execute(_SELECT_PROOFS)
            return {
                row.route: Proof(
                    rows=int(row.compared or 0) - int(row.different or 0),
                    different=int(row.different or 0),
                    source_rows=row.source_rows,
                    oldest_at=None if row.unproven else _utc(row.oldest_at),
                    problem=row.problem,
                )
                for row in rows
            }


_SELECT_DEFINITION = text("SELECT definition FROM sync_proofs WHERE route = :route FOR UPDATE")
_SET_DEFINITION = text(
    "INSERT INTO sync_proofs (route, definition, source_rows) VALUES (:route, :definition, 0) AS new "
    "ON DUPLICATE KEY UPDATE definition = new.definition, problem = NULL"
)
_NOTE = text("UPDATE sync_proofs SET source_rows = :rows, problem = NULL WHERE route = :route")
_REPORT = text(
    "INSERT INTO sync_proofs (route, definition, source_rows, problem) VALUES (:route, '', 0, :problem) AS new "
    "ON DUPLICATE KEY UPDATE problem = new.problem"
)
_SELECT_RANGES = text(
    "SELECT number, upper_bound, source_rows, different_rows, proven_at FROM sync_proven_ranges WHERE route = :route"
)
_DELETE_RANGES = text("DELETE FROM sync_proven_ranges WHERE route = :route")
_DELETE_RANGE = text("DELETE FROM sync_proven_ranges WHERE route = :route AND number = :number")
_STORE_RANGE = text(
    "INSERT INTO sync_proven_ranges (route, number, upper_bound, source_rows, different_rows, proven_at) "
    "VALUES (:route, :number, :upper, :rows, :different, :proven_at) AS new ON DUPLICATE KEY UPDATE "
    "upper_bound = new.upper_bound, source_rows = new.source_rows, different_rows = new.different_rows, "
    "proven_at = new.proven_at"
)
_SELECT_PROOFS = text(
    "SELECT sync_proofs.route, sync_proofs.source_rows, problem, SUM(ranges.source_rows) AS compared, "
    "SUM(different_rows) AS different, MIN(proven_at) AS oldest_at, "
    "COUNT(proven_at) < COUNT(*) AS unproven "
    "FROM sync_proofs LEFT JOIN sync_proven_ranges AS ranges ON ranges.route = sync_proofs.route "
    "GROUP BY sync_proofs.route, sync_proofs.source_rows, problem"
)


def _values(route: str, each: ProvenRange) -> dict[str, object]:
    return {
        "route": route,
        "number": each.number,
        "upper": each.upper,
        "rows": each.rows,
        "different": each.different,
        "proven_at": each.proven_at and each.proven_at.replace(tzinfo=None),
    }


def _utc(moment: datetime | None) -> datetime | None:
    return moment and moment.replace(tzinfo=UTC)


def _definition(route: Route) -> str:
    """Identifies what a comparison of the route compares."""
    parts = [
        route.topic,
        route.target.model_dump(mode="json"),
        *(
            {name: field.model_dump(mode="json") for name, field in fields.items()}
            for fields in (route.key, route.fields)
        ),
    ]
    # Only where they are declared: otherwise the proofs of earlier releases stay.
    if others := route.model_dump(mode="json", include={"inputs", "where", "deletes"}, exclude_defaults=True):
        parts.append(others)
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:32]
