"""The report of a comparison as text and as JSON. Pure."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sync_service.reconciliation.differences import Difference, DifferenceKind
from sync_service.routes.json_values import jsonable

EXAMPLES_KEPT = 20
_EXAMPLES_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Example:
    """A row that differs. `outcome`: different, mended, not-mended or unsettled."""

    kind: DifferenceKind
    key: Sequence[Any]
    fields: Sequence[str]
    outcome: str
    reason: str | None = None

    def as_json(self) -> dict[str, Any]:
        return {
            "kind": self.kind.value,
            "key": [jsonable(part) for part in self.key],
            "fields": list(self.fields),
            "outcome": self.outcome,
            "reason": self.reason,
        }


@dataclass(slots=True)
class RouteReport:
    """Numbers of rows. `missing`, `extra`, `different` and `unfit` count all differences, repaired or not.

    `rows` is the number of compared source rows. `gaps_closed` counts gaps that put the copy in doubt until this
    comparison. `is_lagging`: the sync made no progress, so it is unknown whether unsettled rows differ.
    `rechecking_seconds` of the `seconds` were spent on rows that differed, mostly waiting for their events.
    `where` is the condition of the compared source rows, of which none is `extra`; None for all rows.
    `repairs_planned` is the number of rows to repair, if a repair was requested. If it is more than `repairs_allowed`,
    nothing is changed. `problem` is why the route could not be compared.
    """

    route: str
    source: str
    copy: str
    is_sample: bool = False
    where: str | None = None
    rows: int = 0
    missing: int = 0
    extra: int = 0
    different: int = 0
    unfit: int = 0
    unsettled: int = 0
    mended: int = 0
    repairs_planned: int | None = None
    repairs_allowed: int | None = None
    problem: str | None = None
    is_lagging: bool = False
    gaps_closed: int = 0
    seconds: float = 0.0
    rechecking_seconds: float = 0.0
    examples: list[Example] = field(default_factory=list)

    @property
    def found(self) -> int:
        return self.missing + self.extra + self.different + self.unfit

    @property
    def is_in_agreement(self) -> bool:
        """Is the copy equal to its source, or is it after the repair?"""
        return self.found == self.mended and not self.is_lagging and self.problem is None

    @property
    def ends_doubt(self) -> bool:
        """Is every row that a copy can hold proven equal, possibly after the repair?

        A source row that no copy can hold has nothing to do with lost events.
        """
        is_known = self.found - self.unfit == self.mended and not self.is_lagging and self.problem is None
        return is_known and not self.is_sample and self.where is None and not self.unsettled

    @property
    def refused_repairs(self) -> str | None:
        """Why nothing was repaired, with the remedy."""
        if self.repairs_planned is None or self.repairs_allowed is None or self.repairs_planned <= self.repairs_allowed:
            return None
        return (
            f"nothing was changed: the repair would change {self.repairs_planned:,} rows, and {self.repairs_allowed:,} "
            f"are allowed; if that is right, allow it by --max-repairs {self.repairs_planned}"
        )

    @property
    def rows_per_second(self) -> float:
        return self.rows / self.seconds if self.seconds else 0.0

    def note(self, difference: Difference, outcome: str, reason: str | None = None) -> None:
        if outcome == "unsettled":
            self.unsettled += 1
        else:
            setattr(self, difference.kind.value, getattr(self, difference.kind.value) + 1)
            self.mended += outcome == "mended"
        if len(self.examples) < EXAMPLES_KEPT:
            reason = reason or difference.reason
            self.examples.append(Example(difference.kind, difference.key, difference.fields, outcome, reason))

    def add(self, part: "RouteReport") -> None:
        """Add what a comparison of a further range has found."""
        for name in ("rows", *(kind.value for kind in DifferenceKind), "unsettled", "mended"):
            setattr(self, name, getattr(self, name) + getattr(part, name))
        self.seconds += part.seconds
        self.rechecking_seconds += part.rechecking_seconds
        self.is_lagging |= part.is_lagging
        self.examples += part.examples[: EXAMPLES_KEPT - len(self.examples)]

    def as_json(self) -> dict[str, Any]:
        return {
            "route": self.route,
            "source": self.source,
            "copy": self.copy,
            "is_sample": self.is_sample,
            **({} if self.where is None else {"where": self.where}),
            "rows": self.rows,
            **{kind.value: getattr(self, kind.value) for kind in DifferenceKind},
            "unsettled": self.unsettled,
            "mended": self.mended,
            "repairs_planned": self.repairs_planned,
            "repairs_allowed": self.repairs_allowed,
            "problem": self.problem,
            "is_lagging": self.is_lagging,
            "is_in_agreement": self.is_in_agreement,
            "gaps_closed": self.gaps_closed,
            "seconds": round(self.seconds, 3),
            "rows_per_second": round(self.rows_per_second),
            "examples": [example.as_json() for example in self.examples],
        }


def as_json(reports: Sequence[RouteReport]) -> str:
    content = {
        "is_in_agreement": all(report.is_in_agreement for report in reports),
        "routes": [report.as_json() for report in reports],
    }
    return json.dumps(content, ensure_ascii=False)


def as_text(report: RouteReport) -> str:
    """Several lines, without a line feed at the end."""
    if report.problem is not None:
        return f"{report.route}: not compared: {report.problem}"
    what = "a sample of " if report.is_sample else ""
    lines = [
        f"{report.route}: {report.source} -> {report.copy}",
        f"  {what}{report.rows:,} rows compared in {report.seconds:.1f} s, {report.rows_per_second:,.0f} rows a second",
        f"  {_verdict(report)}",
    ]
    if (refused := report.refused_repairs) is not None:
        lines.append(f"  {refused}")
    if report.gaps_closed:
        lines.append("  it is no longer in doubt: what its events lacked is in it")
    for example in report.examples[:_EXAMPLES_SHOWN]:
        key = ", ".join(str(jsonable(part)) for part in example.key)
        details = [f"in {', '.join(example.fields)}"] if example.fields else []
        details += [example.reason] if example.reason else []
        lines.append(f"    {example.kind.value:<10}{key}  {'; '.join([*details, example.outcome])}")
    if (others := report.found + report.unsettled - _EXAMPLES_SHOWN) > 0:
        lines.append(f"    and {others:,} more")
    return "\n".join(lines)


def _verdict(report: RouteReport) -> str:
    if not report.found and not report.unsettled:
        return "the copy agrees with its source" if report.where is None else "the copy has these rows as its source"
    counts = [f"{number:,} {kind.value}" for kind in DifferenceKind if (number := getattr(report, kind.value))]
    if report.unsettled:
        why = "the sync makes no progress" if report.is_lagging else "still changing"
        counts.append(f"{report.unsettled:,} unsettled ({why})")
    if report.mended:
        counts.append(f"{report.mended:,} mended")
    return ", ".join(counts)
