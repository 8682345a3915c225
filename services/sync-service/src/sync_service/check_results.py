"""What a check has found, as text and as JSON. Pure."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

# Reported latencies and ages are wrong by the difference, and tokens end early or late.
MOST_CLOCK_SECONDS = 5.0
LEAST_FREE_BYTES = 2 * 1024**3
_GIB = 1024**3


@dataclass(frozen=True, slots=True)
class Result:
    """`remedy` is what to do about a failure. `passed` is None if it is not checked."""

    check: str
    passed: bool | None
    detail: str
    remedy: str | None = None


def as_text(result: Result) -> str:
    sign = {True: "✓", False: "✗", None: "-"}[result.passed]
    remedy = "" if result.remedy is None else f"\n    {result.remedy}"
    return f"{sign} {result.check}: {result.detail}{remedy}"


def as_json(results: Sequence[Result]) -> str:
    content = {"passed": all_passed(results), "checks": [asdict(result) for result in results]}
    return json.dumps(content, ensure_ascii=False)


def all_passed(results: Sequence[Result]) -> bool:
    return all(result.passed is not False for result in results)


def clock_result(server: str, seconds: float, round_trip: float) -> Result:
    """`seconds` is how far the server's clock is ahead of this machine's, give or take the `round_trip`."""
    detail = f"{abs(seconds):.1f} s {'ahead of' if seconds > 0 else 'behind'} this machine"
    if abs(seconds) - round_trip <= MOST_CLOCK_SECONDS:
        return Result(f"clock of {server}", True, detail)
    return Result(f"clock of {server}", False, detail, "synchronise the clocks of both machines, by NTP")


def disk_result(name: str, free: float, total: float) -> Result:
    detail = f"{free / _GIB:.1f} of {total / _GIB:.1f} GiB free"
    return Result(name, free >= LEAST_FREE_BYTES, detail, None if free >= LEAST_FREE_BYTES else "free some space")
