import json
from pathlib import Path

import pytest

from benchmarks.machine import versions
from benchmarks.measurement import Measurement, Sample, repeat
from benchmarks.report import Comparison, Report, print_report, write_report


def _report(*samples: Sample) -> Report:
    comparison = Comparison("ours / theirs", ("login", "tandem"), ("login", "django"))
    return Report(part="auth", settings={"rounds": 3}, versions={}, samples=samples, comparisons=[comparison])


def _samples(rates: list[tuple[float, float]], errors: int = 0) -> list[Sample]:
    return [
        Sample("login", who, number, Measurement(rate, p50_ms=1.0, p99_ms=2.0, errors=errors, complaint="timeout 1"))
        for number, both in enumerate(rates, start=1)
        for who, rate in zip(("tandem", "django"), both, strict=True)
    ]


def test_ratio_is_the_median_of_the_rounds_own_ratios() -> None:
    # The machine was four times as fast in the second round; the ratio doesn't change.
    (ratio,) = _report(*_samples([(20, 10), (90, 40), (24, 10)])).ratios()
    assert (ratio.median, ratio.least, ratio.greatest) == (2.25, 2.0, 2.4)


def test_errors_are_summed_and_reported(capsys: pytest.CaptureFixture[str]) -> None:
    report = _report(*_samples([(20, 10), (20, 10)], errors=3))
    print_report(report)
    assert capsys.readouterr().out.splitlines()[3].split()[-1] == "6"
    assert report.complaints()[0] == "login of tandem, round 1: timeout 1"


def test_report_has_every_sample_and_no_path(tmp_path: Path) -> None:
    write_report(_report(*_samples([(20, 10)])), tmp_path / "results" / "auth.json")
    written = (tmp_path / "results" / "auth.json").read_text()
    assert [(row["who"], row["per_second"]) for row in json.loads(written)["samples"]] == [
        ("tandem", 20),
        ("django", 10),
    ]
    assert str(Path.cwd()) not in written


def test_package_is_found_by_its_normalized_name(tmp_path: Path) -> None:
    metadata = tmp_path / "lib" / "python3.11" / "site-packages" / "some_Package-1.2.dist-info" / "METADATA"
    metadata.parent.mkdir(parents=True)
    metadata.write_text("Metadata-Version: 2.1\nName: some_Package\nVersion: 1.2\n")
    assert versions(["Some-package"], tmp_path) == {"Some-package": "1.2"}


def test_exception_in_a_thread_ends_the_measurement() -> None:
    with pytest.raises(ZeroDivisionError):
        repeat(lambda: 1 / 0, seconds=0.1, threads=2)
