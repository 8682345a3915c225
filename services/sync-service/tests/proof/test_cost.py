"""What a comparison costs is not the time that it has waited for a processor."""

import pytest

from sync_service.proof.cost import COMPARISONS, ComparisonCost


def test_comparison_that_had_to_wait_costs_what_one_without_waiting_does() -> None:
    cost = ComparisonCost()
    assert cost.seconds(2000, elapsed=0.5, cpu=0.1) == pytest.approx(0.5)
    assert cost.seconds(2000, elapsed=0.2, cpu=0.1) == pytest.approx(0.2)
    assert cost.seconds(1000, elapsed=0.5, cpu=0.05) == pytest.approx(0.1)


def test_comparison_costs_what_this_process_has_used() -> None:
    cost = ComparisonCost()
    cost.seconds(2000, elapsed=0.2, cpu=0.1)
    assert cost.seconds(2000, elapsed=0.5, cpu=0.4) == pytest.approx(0.4)
    # Other tasks have used the processor while it waited for events.
    assert cost.seconds(2000, elapsed=0.3, cpu=7.0) == pytest.approx(0.3)


def test_rows_that_have_become_expensive_are_noticed() -> None:
    cost = ComparisonCost()
    cost.seconds(2000, elapsed=0.2, cpu=0.1)
    costs = [cost.seconds(2000, elapsed=0.6, cpu=0.1) for _ in range(COMPARISONS)]
    assert costs == pytest.approx([0.2] * (COMPARISONS - 1) + [0.6])


def test_comparison_without_rows_has_a_cost() -> None:
    assert ComparisonCost().seconds(0, elapsed=0.01, cpu=0.001) == pytest.approx(0.01)
