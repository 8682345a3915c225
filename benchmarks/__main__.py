"""`python -m benchmarks`: measure the given parts, or all; print tables and write JSON reports."""

import argparse
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks import auth, importing, latency, reconcile, sync, tweets
from benchmarks.measurement import MeasurementError, Options
from benchmarks.report import Report, print_report, write_report
from embedded_stack import StackError
from embedded_stack.configuration import REPOSITORY

PARTS: dict[str, Callable[[Options], Report]] = {
    "auth": auth.measure,
    "tweets": tweets.measure,
    "import": importing.measure,
    "sync": sync.measure,
    "latency": latency.measure,
    "reconcile": reconcile.measure,
}

RESULTS = REPOSITORY / "results"


def main() -> None:
    arguments = _arguments()
    # SIGTERM raises KeyboardInterrupt, as Ctrl-C does, so that the stack is stopped.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        valid = [_run(part, arguments) for part in arguments.parts or PARTS]
    except (MeasurementError, StackError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(0 if all(valid) else 1)


def _run(part: str, arguments: argparse.Namespace) -> bool:
    """Measure one part. Write the report only if no request failed."""
    report = PARTS[part](Options(arguments.seconds, arguments.rounds, arguments.tries))
    print_report(report)
    if complaints := report.complaints():
        print("error: requests failed, so no report is written:", file=sys.stderr)
        for complaint in complaints:
            print(f"  {complaint}", file=sys.stderr)
        return False
    write_report(report, arguments.results / f"{part}.json")
    return True


def _part(name: str) -> str:
    if name not in PARTS:
        raise argparse.ArgumentTypeError(f"unknown part {name!r}; the parts are {', '.join(PARTS)}")
    return name


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", type=_part, help=f"{', '.join(PARTS)} (default: all)")
    parser.add_argument("--seconds", type=float, default=5.0, help="duration of one measurement (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each (%(default)s)")
    parser.add_argument("--tries", type=int, default=1, help="attempts if other programs use the CPU (%(default)s)")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the JSON reports (results)")
    arguments = parser.parse_args()
    if min(arguments.seconds, arguments.rounds, arguments.tries) < 1:
        parser.error("--seconds, --rounds and --tries must be at least 1")
    return arguments


if __name__ == "__main__":
    main()
