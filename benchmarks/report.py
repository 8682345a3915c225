"""The samples as a table, as ratios and as a JSON file."""

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.machine import machine_facts
from benchmarks.measurement import QUIET_CORES, Measurement, Sample, foreign_cores

# A case and a subject.
SampleKey = tuple[str, str]


@dataclass(frozen=True)
class Comparison:
    """The rate of `measured` divided by that of `reference`."""

    title: str
    measured: SampleKey
    reference: SampleKey
    aim: str = ""


@dataclass(frozen=True)
class Ratio:
    """Median, minimum and maximum of the ratios of each round. Within a round, drift affects both sides."""

    title: str
    median: float
    least: float
    greatest: float
    aim: str


@dataclass(frozen=True)
class Report:
    part: str
    settings: Mapping[str, float | int]
    versions: Mapping[str, Mapping[str, str]]
    samples: Sequence[Sample]
    comparisons: Sequence[Comparison]

    def sample_keys(self) -> list[SampleKey]:
        return list(dict.fromkeys((sample.case, sample.subject) for sample in self.samples))

    def of(self, key: SampleKey) -> list[Measurement]:
        """Return the measurements of a case and subject, by round."""
        return [sample.measurement for sample in self.samples if (sample.case, sample.subject) == key]

    def ratios(self) -> list[Ratio]:
        return [_ratio(each, self.of(each.measured), self.of(each.reference)) for each in self.comparisons]

    def complaints(self) -> list[str]:
        return [
            f"{sample.case} of {sample.subject}, round {sample.round}: {sample.measurement.complaint}"
            for sample in self.samples
            if sample.measurement.errors
        ]


def median_of(rounds: Sequence[Measurement]) -> Measurement:
    """Return the median of each figure, and the sum of errors."""
    cpu = [each.cpu_ms for each in rounds if each.cpu_ms is not None]
    return Measurement(
        per_second=statistics.median(each.per_second for each in rounds),
        p50_ms=statistics.median(each.p50_ms for each in rounds),
        p99_ms=statistics.median(each.p99_ms for each in rounds),
        cpu_ms=statistics.median(cpu) if cpu else None,
        errors=sum(each.errors for each in rounds),
    )


def print_report(report: Report) -> None:
    """Print the table with the medians of the rounds, and the ratios."""
    facts = machine_facts()
    settings = ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in report.settings.items())
    print(f"\n{facts['cpu']}, {facts['cores']} cores; {settings}. Medians of the rounds:")
    row = "{:<6} {:<14} {:<20} {:>10} {:>9} {:>9} {:>9} {:>7}"
    print(row.format("part", "case", "subject", "per second", "p50 ms", "p99 ms", "CPU ms", "errors"))
    for case, subject in report.sample_keys():
        measured = median_of(report.of((case, subject)))
        cpu = "-" if measured.cpu_ms is None else _digits(measured.cpu_ms)
        times = (_digits(measured.per_second), _digits(measured.p50_ms), _digits(measured.p99_ms), cpu)
        print(row.format(report.part, case, subject, *times, measured.errors))
    print(f"\n{'ratio':<58} {'median':>7} {'min':>7} {'max':>7}  target")
    for ratio in report.ratios():
        print(
            f"{ratio.title:<58} {ratio.median:>7.2f} {ratio.least:>7.2f} {ratio.greatest:>7.2f}  {ratio.aim}".rstrip()
        )
    print()
    if (foreign := foreign_cores(report.samples)) > QUIET_CORES:
        print(f"Other programs used {foreign:.2f} cores, which distorts the ratios: try BENCH_TRIES=5.\n")


def write_report(report: Report, file: Path) -> None:
    """Write every sample, so that readers can compute other ratios."""
    content = {
        "part": report.part,
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine_facts(),
        "versions": report.versions,
        "settings": report.settings,
        "ratios": [asdict(ratio) for ratio in report.ratios()],
        "samples": [_row(sample) for sample in report.samples],
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content, indent=2) + "\n")


def _ratio(comparison: Comparison, measured: Sequence[Measurement], reference: Sequence[Measurement]) -> Ratio:
    ratios = [ours.per_second / theirs.per_second for ours, theirs in zip(measured, reference, strict=True)]
    return Ratio(
        title=comparison.title,
        median=round(statistics.median(ratios), 3),
        least=round(min(ratios), 3),
        greatest=round(max(ratios), 3),
        aim=comparison.aim,
    )


def _row(sample: Sample) -> dict[str, str | int | float | None]:
    figures = asdict(sample.measurement)
    del figures["complaint"]
    rounded = {name: round(value, 4) if isinstance(value, float) else value for name, value in figures.items()}
    return {
        "case": sample.case,
        "who": sample.subject,
        "round": sample.round,
        **rounded,
        "foreign_cores": round(sample.foreign_cores, 3),
    }


def _digits(value: float) -> str:
    """Format with three significant digits, more for large values."""
    decimals = 0 if value >= 100 else 1 if value >= 10 else 2 if value >= 1 else 3
    return f"{value:.{decimals}f}"
