"""`python -m faults`: break a whole system of its own, again and again, and prove that it loses nothing."""

import argparse
import asyncio
import random
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from embedded_stack import Stack, StackError
from faults.catalogue import CATALOGUE, Fault
from faults.controls import try_controls
from faults.plan import plan
from faults.report import Report, Round, table, write_report
from faults.system import LOGS, system_of, whole_stack
from faults.trial import Trial

RESULT = Path(__file__).parent / "results" / "faults.json"
WRITERS = 8


def main() -> None:
    arguments = _arguments()
    # As Ctrl-C does, so that what was started is stopped.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with whole_stack(_say) as stack:
            report = asyncio.run(_run(stack, arguments))
    except StackError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
    print(f"\n{table(report)}")
    write_report(report, arguments.result)
    if violations := report.violations():
        print(f"\n{len(violations)} violations; the logs are in {LOGS}:", file=sys.stderr)
        for violation in violations:
            print(f"  {violation}", file=sys.stderr)
        sys.exit(1)


async def _run(stack: Stack, arguments: argparse.Namespace) -> Report:
    rng = random.Random(arguments.seed)
    chosen = _chosen(arguments.only)
    began = time.monotonic()
    async with system_of(stack) as system:
        trial = Trial.begin(system, rng, _say, writers=WRITERS, rate=arguments.rate)
        try:
            rounds = await _rounds(trial, plan(chosen, arguments.faults, rng), rng)
            seconds = time.monotonic() - began
            counted, journal = system.counts.total, system.journal
            totals: dict[str, float | int] = {
                "minutes": round(seconds / 60, 1),
                "writes_acknowledged": journal.acknowledged,
                "writes_of_unknown_outcome": journal.uncertain,
                "events": sum(counted.values()),
                "duplicates": counted["skipped"],
                "superseded": counted["superseded"],
                "dead_letters": len(system.letters.arrived),
                "states_of_rows_watched": trial.progress.steps,
                "rows_compared_at_the_end": trial.compared,
                "deletes_of_gaps_mended": trial.mended,
            }
            complaints = [] if counted["skipped"] else ["there were no duplicates, so nothing was proved"]
            controls = await try_controls(trial, rng) if arguments.controls else []
        finally:
            await trial.writers.stop()
    settings = {"seed": arguments.seed, "writers": WRITERS, "writes_per_second": arguments.rate}
    return Report(settings, rounds, totals, controls, complaints)


async def _rounds(trial: Trial, planned: Sequence[Sequence[Fault]], rng: random.Random) -> list[Round]:
    """All of them, or as many as it takes until the system does not recover."""
    total, done, rounds = sum(map(len, planned)), 0, []
    _say(f"{total} faults in {len(planned)} rounds")
    if wrong := await trial.inspect():
        return [Round([], None, [f"before any fault: {each}" for each in wrong])]
    for faults in planned:
        finished = await trial.round(faults, rng)
        rounds.append(finished)
        done += len(faults)
        recovery = "NOT RECOVERED" if finished.recovery is None else f"recovered in {finished.recovery:5.2f} s"
        duplicates = sum(each.duplicates for each in finished.injections)
        _say(f"{done:>4}/{total}  {recovery}  {duplicates:>5} duplicates  {finished.names}")
        for each in finished.wrong[:5]:
            _say(f"          WRONG: {each}")
        if finished.recovery is None:
            break
    return rounds


def _chosen(only: Sequence[str] | None) -> list[Fault]:
    return [fault for fault in CATALOGUE if only is None or any(part in fault.name for part in only)]


def _say(line: str) -> None:
    print(line, flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m faults", description=__doc__)
    parser.add_argument("--faults", type=int, default=200, help="how many (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="which ones, when, on what (%(default)s)")
    parser.add_argument("--only", metavar="NAME", action="append", help="those with this in their name; repeatable")
    parser.add_argument("--rate", type=float, default=30.0, help="writes a second (%(default)g)")
    parser.add_argument("--no-controls", dest="controls", action="store_false", help="leave out the negative controls")
    parser.add_argument("--list", action="store_true", help="list the faults, and do nothing")
    parser.add_argument("--result", type=Path, default=RESULT, help="the JSON file (faults/results/faults.json)")
    arguments = parser.parse_args()
    if arguments.list:
        print("\n".join(fault.name for fault in CATALOGUE))
        sys.exit(0)
    if arguments.faults < 1 or arguments.rate <= 0:
        parser.error("one fault and some writes are the least")
    if not _chosen(arguments.only):
        parser.error(f"no fault has {' or '.join(arguments.only)} in its name; --list lists them")
    return arguments


if __name__ == "__main__":
    main()
