"""The rules by which the suite detects violations, tested without a system."""

import json
import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from faults.catalogue import CATALOGUE, CATALOGUES, Fault
from faults.catalogue.records import is_change_event
from faults.controls import detect
from faults.expected_state import ExpectedState
from faults.plan import MAX_FAULTS_PER_ROUND, plan
from faults.poison import KINDS, is_usable, poisoned
from faults.regressions import RegressionDetector
from faults.replica_diff import Difference, Rows, differences
from faults.report import Control, Injection, Report, Round, table
from faults.topics import MARKER, Record
from sync_service.debezium.envelope import decode
from sync_service.debezium.errors import InvalidEvent
from sync_service.routes.loader import default_routes_file, load_routes
from sync_service.routes.mapping import map_fields, map_key
from sync_service.sinks.mongodb.source import MongodbSource
from sync_service.sinks.mysql.source import MysqlSource

ROUTES = {route.name: route for route in load_routes(default_routes_file())}
SERVER_UUID = "3e11fa47-71ca-11e1-9e33-c80aa9429562"
NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)


@pytest.mark.parametrize("value", [b"{not json", b"\xff", b"5", b"{}", b'"op"'])
def test_only_change_events_are_replayed_and_poisoned(value: bytes) -> None:
    event = _record(ROUTES["users"].topic)
    assert is_change_event(event)
    assert is_change_event(replace(event, value=None))
    assert not is_change_event(replace(event, value=value))
    assert not is_change_event(replace(event, headers={MARKER: b"m"}))


@pytest.mark.parametrize("catalogue", CATALOGUES.values(), ids=CATALOGUES)
def test_plan_is_reproducible_and_has_every_fault(catalogue: Sequence[Fault]) -> None:
    def names(seed: int) -> list[list[str]]:
        return [[fault.name for fault in faults] for faults in plan(catalogue, 200, random.Random(seed))]

    rounds = names(7)
    assert rounds == names(7) != names(8)
    assert sum(map(len, rounds)) == 200
    assert {name for faults in rounds for name in faults} == {fault.name for fault in catalogue}
    assert max(map(len, rounds)) <= MAX_FAULTS_PER_ROUND
    alone = {fault.name for fault in catalogue if fault.exclusive}
    assert alone
    assert all(len(faults) == 1 for faults in rounds if alone & set(faults))


def test_plan_with_few_faults_has_no_repetition() -> None:
    (*names,) = (fault.name for faults in plan(CATALOGUE, 5, random.Random(1)) for fault in faults)
    assert len(set(names)) == 5


@pytest.mark.parametrize(
    ("row", "is_lost"),
    [
        ({"text": "new", "version": 2}, False),
        ({"text": "old", "version": 1}, False),
        (None, True),
        ({"text": "x"}, True),
    ],
)
def test_unknown_outcome_accepts_the_states_before_and_after(row: dict[str, Any] | None, is_lost: bool) -> None:
    expected = ExpectedState()
    expected.note_acknowledged("tweets", "1", {"text": "old", "version": 1})
    expected.note_uncertain("tweets", "1", {"text": "new", "version": 2})
    assert bool(expected.lost({"tweets": {} if row is None else {"1": row}})) is is_lost


def test_acknowledged_delete_must_remove_the_row() -> None:
    expected = ExpectedState()
    expected.note_acknowledged("tweets", "1", None)
    assert expected.lost({"tweets": {"1": {"text": "still here"}}})
    assert not expected.lost({"tweets": {}})


@pytest.mark.parametrize(
    ("versions", "regressions"),
    [
        ([(1, 1), (1, 2), (1, 2), None], 0),
        ([(1, 1), (1, 3), (1, 2)], 1),
        ([(1, 1), None, (1, 1)], 1),
        ([(1, 1), None, (2, 1)], 0),
        ([None, (1, 1)], 0),
    ],
)
def test_older_version_is_a_regression(versions: list[tuple[int, int] | None], regressions: int) -> None:
    detector = RegressionDetector()
    for place, version in enumerate(versions):
        detector.observe("tweets", "1", version, str(place))
    assert len(detector.found) == regressions


@pytest.mark.parametrize(
    ("earlier_ms", "later_ms", "found"),
    [(1, 60_000, (0, 1)), (1, 60_001, (1, 0)), (60_001, 1, (1, 0))],
    ids=["in doubt", "provably older", "newer by its position"],
)
def test_step_back_within_the_difference_of_clocks_is_no_regression(
    earlier_ms: int, later_ms: int, found: tuple[int, int]
) -> None:
    detector = RegressionDetector()
    for version, ts_ms in ((2, later_ms), (1, earlier_ms)):
        position = MongodbSource(name="cdc.mongo", ts_ms=ts_ms).position
        detector.observe("tweets", "1", (1, version), "somewhere", position)
    assert (len(detector.found), detector.unprovable) == found


@pytest.mark.parametrize(
    ("history", "server_id", "found"),
    [(SERVER_UUID, 1, (1, 0)), (SERVER_UUID, 2, (0, 1)), (SERVER_UUID[::-1], 1, (1, 0))],
    ids=["one server", "two servers", "a new history of one server"],
)
def test_step_back_to_a_transaction_of_another_server_has_no_provable_order(
    history: str, server_id: int, found: tuple[int, int]
) -> None:
    """A replica that was promoted continues with numbers of its own."""
    detector = RegressionDetector()
    for version, number, server, uuid in ((2, 9, 1, SERVER_UUID), (1, 8, server_id, history)):
        source = MysqlSource(name="cdc.mysql", ts_ms=number, server_id=server, gtid=f"{uuid}:{number}")
        detector.observe("users", "1", (1, version), "somewhere", source.position)
    assert (len(detector.found), detector.unprovable) == found


@pytest.mark.parametrize(("deleted_ms", "found"), [(1, 1), (60_000, 0), (180_000, 0)])
def test_older_delete_that_hides_a_live_row_is_a_regression(deleted_ms: int, found: int) -> None:
    detector = RegressionDetector()
    for version, ts_ms in (((1, 1), 90_000), (None, deleted_ms)):
        detector.observe("tweets", "1", version, "somewhere", MongodbSource(name="cdc.mongo", ts_ms=ts_ms).position)
    assert len(detector.found) == found


@pytest.mark.parametrize(("later", "found"), [(3, 0), (2, 0), (1, 1)])
def test_row_that_returns_while_a_transaction_is_repeated_may_change_later(later: int, found: int) -> None:
    """All changes of a transaction that deletes a row and creates it again have one position."""
    detector = RegressionDetector()
    for state, ts_ms in (((1, 2), 1), (None, 1), ((1, 1), 1), ((1, 2), 1), ((1, later), 90_000)):
        detector.observe("tweets", "1", state, "somewhere", MongodbSource(name="cdc.mongo", ts_ms=ts_ms).position)
    assert (len(detector.found), detector.unprovable) == (found, 1)


def _account(**changed: Any) -> dict[str, Any]:
    account: dict[str, Any] = dict.fromkeys(ROUTES["users"].fields)
    account |= {"id": "a", "username": "ada", "is_active": 1, "created_at": NOON.replace(tzinfo=None)}
    return {**account, **changed}


def _copied_account(**changed: Any) -> dict[str, Any]:
    copied = {**_account(), "_id": "a", "is_active": True, "created_at": NOON}
    del copied["id"]
    return {**copied, **changed}


def test_equal_rows_of_different_types_are_equal() -> None:
    source: Rows = {"a": _account(created_at=NOON.replace(tzinfo=None, microsecond=123_456))}
    copy: Rows = {"a": _copied_account(created_at=NOON.replace(microsecond=123_000))}
    assert not differences([ROUTES["users"]], {"auth.users": source}, {"users": copy})


@pytest.mark.parametrize(
    ("copy", "kind"),
    [({}, "missing"), ({"a": _copied_account(name="Eve")}, "different"), ({"a": _copied_account(), "b": {}}, "extra")],
)
def test_copy_is_compared_in_both_directions(copy: dict[str, Any], kind: str) -> None:
    found = differences([ROUTES["users"]], {"auth.users": {"a": _account()}}, {"users": copy})
    assert [each.kind for each in found] == [kind]


def _record(topic: str) -> Record:
    if topic.startswith("cdc.mysql"):
        key, row = {"id": "a"}, _account(created_at=NOON.isoformat())
        where = {"connector": "mysql", "name": "cdc.mysql", "ts_ms": 1, "file": "binlog.000001", "pos": 1, "row": 0}
        value = {"op": "c", "before": None, "after": row, "source": where}
    else:
        identifier = {"$oid": "6b064225caa2c578da9ead82"}
        document = {"_id": identifier, "text": "x", "version": 1, "created_at": {"$date": 1}, "lang": None}
        key = {"id": json.dumps(identifier)}
        source = {"connector": "mongodb", "name": "cdc.mongo", "ts_ms": 1, "ord": 1}
        value = {"op": "c", "before": None, "after": json.dumps(document), "source": source}
    return Record(topic, 0, 0, json.dumps(key).encode(), json.dumps(value).encode())


@pytest.mark.parametrize("route", ["users", "tweets"])
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "too long"])
def test_poison_is_invalid_and_its_template_is_valid(kind: str, route: str) -> None:
    def read(record: Record) -> None:
        event = decode(record.key, record.value)
        assert event is not None
        map_key(ROUTES[route], event.key)
        map_fields(ROUTES[route], event.after or {})

    record = _record(ROUTES[route].topic)
    assert is_usable(record)
    read(record)
    poison = poisoned(kind, record, "m")
    assert poison.headers == {MARKER: b"m"}
    with pytest.raises(InvalidEvent):
        read(poison)


def test_report_sums_rounds_and_lists_violations() -> None:
    rounds = [
        Round([Injection("a", 10, 1), Injection("b", 20, 2)], 2.0, []),
        Round([Injection("a", 30, 3)], 4.0, ["lost from tweets: 1"]),
    ]
    report = Report({}, rounds, {"events": 60, "duplicates": 6}, [Control("unguarded", "a", [])])
    (first, second) = report.lines()
    assert (first.fault, first.times, first.events, first.duplicates, first.wrong, first.p50) == ("a", 2, 40, 4, 1, 4.0)
    assert (second.fault, second.p50) == ("b", 2.0)
    assert report.violations() == ["[a] lost from tweets: 1", "control “unguarded” was not detected"]
    assert table(report).splitlines()[3].split()[:5] == ["all", "3", "60", "6", "1"]


class PlannedRounds:
    """A trial with given violations: `left_over` from before, and those of each round."""

    def __init__(self, left_over: Sequence[str], of_rounds: Sequence[Sequence[str]]) -> None:
        self.unreported = list(left_over)
        self.rounds = list(of_rounds)

    async def inspect(self) -> list[str]:
        reported, self.unreported = self.unreported, []
        return reported

    async def round(self, faults: Sequence[Fault], rng: random.Random) -> Round:  # noqa: ARG002 - a trial's
        reported = [*await self.inspect(), *self.rounds.pop(0)]
        return Round([Injection(fault.name) for fault in faults], 1.0, reported)


STUCK = "not recovered: a new account or tweet did not arrive within 120 s"
REGRESSION = "regression: tweets 1 from 2026 / 2 to 2026 / 1, at binlog.000002:1"


def differs(kind: str) -> str:
    return f"copy differs: {Difference('likes', '1 2', kind, '(source, copy): (: extra, )')}"


@pytest.mark.parametrize(
    ("mutant", "violations", "detected"),
    [
        ("unguarded", [STUCK], []),
        ("unguarded", [differs("missing"), differs("different")], []),
        ("unguarded", [STUCK, REGRESSION, differs("extra")], [REGRESSION, differs("extra")]),
        ("commits-first", [STUCK, REGRESSION, "lost from tweets: 1 is gone"], []),
        ("commits-first", [REGRESSION, differs("missing")], [differs("missing")]),
        ("commits-first", [differs("extra")], [differs("extra")]),
        ("commits-first", [differs("different")], [differs("different")]),
    ],
)
async def test_control_is_detected_only_by_the_symptom_of_its_defect(
    mutant: str, violations: list[str], detected: list[str]
) -> None:
    control = await detect(PlannedRounds([], [[], violations, []]), mutant, random.Random(1))
    assert control.violations == detected


async def test_control_is_not_detected_by_damage_of_the_previous_one() -> None:
    left_over = [differs("extra"), REGRESSION]
    control = await detect(PlannedRounds(left_over, [[], [], []]), "unguarded", random.Random(1))
    assert control.violations == []
