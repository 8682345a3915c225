"""`python -m benchmarks`: measure the parts named, or all; print their tables and keep the figures as JSON."""

import argparse
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks import auth, importing, latency, reconciling, sync, tweets
from benchmarks.measurement import MeasurementError, Options
from benchmarks.report import Report, print_report, write_report
from embedded_stack import StackError

PARTS: dict[str, Callable[[Options], Report]] = {
    "auth": auth.measure,
    "tweets": tweets.measure,
    "import": importing.measure,
    "sync": sync.measure,
    "latency": latency.measure,
    "reconcile": reconciling.measure,
}

RESULTS = Path(__file__).parent / "results"


def main() -> None:
    arguments = _arguments()
    # As Ctrl-C does, so that what was started is stopped.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        sound = [_run(part, arguments) for part in arguments.parts or PARTS]
    except (MeasurementError, StackError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(0 if all(sound) else 1)


def _run(part: str, arguments: argparse.Namespace) -> bool:
    """Measure one part. Only a run in which every request was answered well is kept."""
    report = PARTS[part](Options(arguments.seconds, arguments.rounds, arguments.tries))
    print_report(report)
    if complaints := report.complaints():
        print("error: a benchmark of errors proves nothing; the results are not kept.", file=sys.stderr)
        for complaint in complaints:
            print(f"  {complaint}", file=sys.stderr)
        return False
    write_report(report, arguments.results / f"{part}.json")
    return True


def _part(name: str) -> str:
    if name not in PARTS:
        raise argparse.ArgumentTypeError(f"there is no part {name!r}; there are {', '.join(PARTS)}")
    return name


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", type=_part, help=f"{', '.join(PARTS)}; all if none")
    parser.add_argument("--seconds", type=float, default=5.0, help="length of one measurement (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="how often each is taken (%(default)s)")
    parser.add_argument("--tries", type=int, default=1, help="tries to find a quiet moment for each (%(default)s)")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the JSON files (benchmarks/results)")
    arguments = parser.parse_args()
    if min(arguments.seconds, arguments.rounds, arguments.tries) < 1:
        parser.error("one second, one round and one try are the least")
    return arguments


if __name__ == "__main__":
    main()
