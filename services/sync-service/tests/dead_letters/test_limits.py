"""Limits of dead letters: pure functions."""

from collections.abc import Iterable, Sequence
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync_service.dead_letters.limits import LEAST_EVENTS, WINDOW_EVENTS, DeadLetterLimits, Failure, FailureWindow
from sync_service.dead_letters.models import Stage

Outcome = Literal["applied", "unreadable", "refused"]
LIMITS = DeadLetterLimits(max_consecutive=100, max_ratio=0.5)
STAGES: dict[Outcome, Stage] = {"unreadable": "VALUE_CONVERTER", "refused": "TASK_PUT"}


def lived(outcomes: Iterable[Outcome]) -> FailureWindow:
    """The course of a partition whose events come one by one."""
    window = FailureWindow()
    for outcome in outcomes:
        if outcome == "unreadable":
            window.failed("VALUE_CONVERTER")
            continue
        window.decoded(1)
        if outcome == "refused":
            window.failed("TASK_PUT")
        else:
            window.written()
    return window


def failures(outcomes: Sequence[Outcome]) -> list[Failure]:
    return [Failure(offset, STAGES[outcome]) for offset, outcome in enumerate(outcomes) if outcome in STAGES]


@pytest.mark.parametrize(
    ("outcomes", "stage", "violation"),
    [
        (["unreadable"] * 99, "VALUE_CONVERTER", None),
        (["unreadable"] * 100, "VALUE_CONVERTER", "100 events in a row could not be applied"),
        (["unreadable"] * 100, "TASK_PUT", None),
        (["refused"] * 100, "TASK_PUT", "100 events in a row could not be applied"),
        (["refused"] * 60 + ["unreadable"] * 60, "TASK_PUT", None),
        (["unreadable"] * 99 + ["applied"] + ["unreadable"] * 99, "VALUE_CONVERTER", None),
        (["applied", "unreadable"] * 500, "VALUE_CONVERTER", None),
        (["unreadable", "unreadable", "applied"] * 66, "VALUE_CONVERTER", None),
        (["unreadable", "unreadable", "applied"] * 67, "VALUE_CONVERTER", "134 of the latest 201 events could not"),
        (["refused", "refused", "applied"] * 67, "TASK_PUT", "134 of the latest 201 events could not"),
        (["unreadable", "unreadable", "applied"] * 67 + ["applied"] * 68, "VALUE_CONVERTER", None),
    ],
)
def test_failures_are_too_many(outcomes: Sequence[Outcome], stage: Stage, violation: str | None) -> None:
    found = lived(outcomes).violation(LIMITS, stage)
    assert found is None if violation is None else (found or "").startswith(violation)


_outcomes: st.SearchStrategy[Outcome] = st.sampled_from(["applied", "unreadable", "refused"])
_courses = st.lists(st.tuples(_outcomes, st.integers(1, 120)), max_size=8).map(
    lambda runs: [outcome for outcome, count in runs for _ in range(count)]
)


@given(_courses)
def test_window_from_dead_letters_equals_the_window_of_the_previous_process(outcomes: list[Outcome]) -> None:
    known, found = lived(outcomes), FailureWindow.before(len(outcomes), failures(outcomes))
    assert found.consecutive == known.consecutive
    assert found.ratio == known.ratio


@given(_courses, st.integers(0, 1000))
def test_dead_letters_of_later_events_do_not_count(outcomes: list[Outcome], before: int) -> None:
    cut = outcomes[:before]
    assert FailureWindow.before(len(cut), failures(outcomes)).consecutive == lived(cut).consecutive


@given(st.lists(st.tuples(st.integers(1, 700), st.booleans()), max_size=60))
def test_share_is_computed_over_the_latest_events(batches: list[tuple[int, bool]]) -> None:
    window, outcomes = FailureWindow(), list[bool]()
    for events, is_bad in batches:
        if is_bad:
            for _ in range(events):
                window.failed("VALUE_CONVERTER")
        else:
            window.decoded(events)
        outcomes += [is_bad] * events
    if len(outcomes) < LEAST_EVENTS:
        assert window.ratio is None
        return
    # Whole blocks go: what is looked at is the window and at most one block, which is as large as a batch may be.
    shares = [
        sum(outcomes[-size:]) / len(outcomes[-size:])
        for size in range(min(WINDOW_EVENTS, len(outcomes)), min(WINDOW_EVENTS + 700, len(outcomes)) + 1)
    ]
    assert window.ratio is not None
    assert min(shares) <= window.ratio <= max(shares)


@given(_courses, st.integers(1, 200), st.floats(0.05, 1))
def test_applied_event_ends_consecutive_failures(
    outcomes: list[Outcome], max_consecutive: int, max_ratio: float
) -> None:
    window = lived([*outcomes, "applied"])
    assert set(window.consecutive.values()) == {0}
    for stage in ("VALUE_CONVERTER", "TASK_PUT"):
        reason = window.violation(DeadLetterLimits(max_consecutive, max_ratio), stage)
        assert reason is None or "of the latest" in reason
