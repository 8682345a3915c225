"""The results of rounds, as a table and as a JSON file."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.machine import machine_facts


@dataclass(frozen=True)
class Injection:
    """`events` and `duplicates` count events that the sync processed, and skipped, from this fault to the next."""

    fault: str
    events: int = 0
    duplicates: int = 0


@dataclass(frozen=True)
class Round:
    """Faults injected in sequence. `recovery` is the seconds from the last of them to recovery, None if it failed."""

    injections: Sequence[Injection]
    recovery: float | None
    violations: Sequence[str]

    @property
    def names(self) -> str:
        return " + ".join(each.fault for each in self.injections)


@dataclass(frozen=True)
class Control:
    """A mutant that must be detected: `violations` are those that it caused."""

    name: str
    fault: str
    violations: Sequence[str]


@dataclass(frozen=True)
class Line:
    """One fault in all rounds. `wrong` counts the violations of its rounds."""

    fault: str
    times: int
    events: int
    duplicates: int
    wrong: int
    p50: float | None
    p99: float | None


@dataclass
class Report:
    """`totals` are of the whole run; each violation names its round."""

    settings: Mapping[str, float | int]
    rounds: Sequence[Round]
    totals: Mapping[str, float | int]
    controls: Sequence[Control] = ()
    complaints: Sequence[str] = field(default_factory=list)

    def lines(self) -> list[Line]:
        names = sorted({each.fault for each in self._injections()})
        return [self._line(name) for name in names]

    def violations(self) -> list[str]:
        """Return one line for each violation of the run."""
        found = [f"[{each.names}] {violation}" for each in self.rounds for violation in each.violations]
        found += [f"control “{each.name}” was not detected" for each in self.controls if not each.violations]
        return [*found, *self.complaints]

    def _injections(self) -> list[Injection]:
        return [injection for each in self.rounds for injection in each.injections]

    def _line(self, name: str) -> Line:
        own = [each for each in self._injections() if each.fault == name]
        part_of = [each for each in self.rounds if any(injection.fault == name for injection in each.injections)]
        recoveries = [
            each.recovery for each in part_of if each.injections[-1].fault == name and each.recovery is not None
        ]
        return Line(
            fault=name,
            times=len(own),
            events=sum(each.events for each in own),
            duplicates=sum(each.duplicates for each in own),
            wrong=sum(len(each.violations) for each in part_of),
            p50=percentile(recoveries, 0.5),
            p99=percentile(recoveries, 0.99),
        )


def percentile(values: Sequence[float], share: float) -> float | None:
    """Return the nearest-rank percentile, rounded to 0.01; None without values."""
    if not values:
        return None
    return round(sorted(values)[max(0, math.ceil(share * len(values)) - 1)], 2)


def table(report: Report) -> str:
    row = "{:<43} {:>5} {:>8} {:>10} {:>5} {:>9} {:>9}"
    lines = [row.format("fault", "times", "events", "duplicates", "wrong", "p50 s", "p99 s")]
    for each in report.lines():
        times = ("-" if value is None else f"{value:.2f}" for value in (each.p50, each.p99))
        lines.append(row.format(each.fault, each.times, each.events, each.duplicates, each.wrong, *times))
    recoveries = [each.recovery for each in report.rounds if each.recovery is not None]
    totals = (sum(len(each.injections) for each in report.rounds), report.totals["events"], report.totals["duplicates"])
    wrong = sum(len(each.violations) for each in report.rounds)
    p50, p99 = (percentile(recoveries, share) or 0.0 for share in (0.5, 0.99))
    lines.append(row.format("all", *totals, wrong, f"{p50:.2f}", f"{p99:.2f}"))
    lines.append("")
    lines += [f"{name.replace('_', ' '):<32} {value:>14g}" for name, value in report.totals.items()]
    for control in report.controls:
        found = control.violations
        outcome = f"detected, {len(found)} violations: {found[0]}" if found else "NOT DETECTED"
        lines.append(f"control: {control.name} ({control.fault}): {outcome}")
    return "\n".join(lines)


def write_report(report: Report, file: Path) -> None:
    content = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine_facts(),
        "settings": report.settings,
        "totals": report.totals,
        "violations": report.violations(),
        "faults": [asdict(line) for line in report.lines()],
        "controls": [
            {"name": each.name, "fault": each.fault, "findings": len(each.violations)} for each in report.controls
        ],
        "rounds": [
            {"faults": [injection.fault for injection in each.injections], "recovery_s": _rounded(each.recovery)}
            for each in report.rounds
        ],
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content, indent=2) + "\n")


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 2)
