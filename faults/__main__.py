"""`python -m faults`: start a separate system, inject faults into it, and check that no data is lost."""

import argparse
import asyncio
import random
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from embedded_stack import Stack, StackError
from embedded_stack.configuration import REPOSITORY
from embedded_stack.topology import SINGLE
from faults.catalogue import CATALOGUES, Fault
from faults.controls import run_controls
from faults.plan import plan
from faults.report import Report, Round, table, write_report
from faults.system import HIGHLY_AVAILABLE, LOGS, fault_stack, system_of
from faults.trial import Trial

RESULTS = {
    "single": REPOSITORY / "results" / "faults.json",
    "ha": REPOSITORY / "results" / "faults-ha.json",
}
TOPOLOGIES = {"single": SINGLE, "ha": HIGHLY_AVAILABLE}
WRITERS = 8


def main() -> None:
    arguments = _arguments()
    # SIGTERM raises KeyboardInterrupt, as Ctrl-C does, so that the stack is stopped.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with fault_stack(_print, TOPOLOGIES[arguments.topology]) as stack:
            report = asyncio.run(_run(stack, arguments))
    except StackError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
    print(f"\n{table(report)}")
    write_report(report, arguments.result or RESULTS[arguments.topology])
    if violations := report.violations():
        print(f"\n{len(violations)} violations; the logs are in {LOGS}:", file=sys.stderr)
        for violation in violations:
            print(f"  {violation}", file=sys.stderr)
        sys.exit(1)


async def _run(stack: Stack, arguments: argparse.Namespace) -> Report:
    rng = random.Random(arguments.seed)
    chosen = _chosen(arguments)
    began = time.monotonic()
    async with system_of(stack) as system:
        trial = Trial.begin(system, rng, _print, writers=WRITERS, rate=arguments.rate)
        try:
            rounds = await _rounds(trial, plan(chosen, arguments.faults, rng), rng)
            seconds = time.monotonic() - began
            counted, expected = system.counts.total, system.expected
            totals: dict[str, float | int] = {
                "minutes": round(seconds / 60, 1),
                "writes_acknowledged": expected.acknowledged,
                "writes_of_unknown_outcome": expected.uncertain,
                "events": sum(counted.values()),
                "duplicates": counted["skipped"],
                "superseded": counted["superseded"],
                "dead_letters": len(system.dead_letters.arrived),
                "states_of_rows_watched": trial.regressions.observed,
                "steps_back_of_unprovable_order": trial.regressions.unprovable,
                "rows_compared_at_the_end": trial.compared,
                "deletes_of_gaps_mended": trial.repaired,
            }
            complaints = [] if counted["skipped"] else ["the run saw no duplicates, so it proves nothing"]
            controls = await run_controls(trial, rng) if arguments.controls else []
        finally:
            await trial.writers.stop()
    settings = {"seed": arguments.seed, "writers": WRITERS, "writes_per_second": arguments.rate}
    return Report(settings, rounds, totals, controls, complaints)


async def _rounds(trial: Trial, planned: Sequence[Sequence[Fault]], rng: random.Random) -> list[Round]:
    """Run every round; stop early if the system does not recover from one."""
    total, done, rounds = sum(map(len, planned)), 0, []
    _print(f"{total} faults in {len(planned)} rounds")
    if violations := await trial.inspect():
        return [Round([], None, [f"before any fault: {each}" for each in violations])]
    for faults in planned:
        finished = await trial.round(faults, rng)
        rounds.append(finished)
        done += len(faults)
        recovery = "NOT RECOVERED" if finished.recovery is None else f"recovered in {finished.recovery:5.2f} s"
        duplicates = sum(each.duplicates for each in finished.injections)
        _print(f"{done:>4}/{total}  {recovery}  {duplicates:>5} duplicates  {finished.names}")
        for each in finished.violations[:5]:
            _print(f"          VIOLATION: {each}")
        if finished.recovery is None:
            break
    return rounds


def _chosen(arguments: argparse.Namespace) -> list[Fault]:
    catalogue, only = CATALOGUES[arguments.topology], arguments.only
    return [fault for fault in catalogue if only is None or any(part in fault.name for part in only)]


def _print(line: str) -> None:
    print(line, flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m faults", description=__doc__)
    parser.add_argument(
        "--faults",
        type=int,
        default=200,
        help="number of faults (%(default)s)",
    )
    parser.add_argument(
        "--topology",
        choices=tuple(TOPOLOGIES),
        default="single",
        help="single: one server of each kind; ha: several, whose members are lost (%(default)s)",
    )
    parser.add_argument("--seed", type=int, default=1, help="seed of the random choices (%(default)s)")
    parser.add_argument(
        "--only", metavar="NAME", action="append", help="only faults whose name contains NAME; repeatable"
    )
    parser.add_argument("--rate", type=float, default=30.0, help="writes per second (%(default)g)")
    parser.add_argument("--no-controls", dest="controls", action="store_false", help="skip the negative controls")
    parser.add_argument("--list", action="store_true", help="list the faults and exit")
    parser.add_argument("--result", type=Path, help="JSON report (results/faults.json, results/faults-ha.json)")
    arguments = parser.parse_args()
    if arguments.list:
        print("\n".join(fault.name for fault in CATALOGUES[arguments.topology]))
        sys.exit(0)
    if arguments.faults < 1 or arguments.rate <= 0:
        parser.error("--faults must be at least 1, --rate greater than 0")
    if not _chosen(arguments):
        parser.error(f"no fault name contains {' or '.join(arguments.only)}; --list prints the names")
    return arguments


if __name__ == "__main__":
    main()
