"""Comparisons and repairs of routes with options, in both directions."""

from typing import Any

import pytest

from support.built_in_routes import built_in_declarations
from support.comparison_harness import NUMBERED, ComparisonHarness, Users, counts

SELECTED = {"users": {"where": "name.startsWith('content')"}, "tweets": {"where": "text.startsWith('content')"}}
LABELLED = {**built_in_declarations()["users"]["fields"], "label": {"expr": "role + ': ' + name", "type": "string"}}


@pytest.mark.parametrize("route_options", [SELECTED])
async def test_rows_that_do_not_match_are_in_no_copy(comparison: ComparisonHarness) -> None:
    direction = comparison.direction
    await comparison.both({**NUMBERED, 40: "another", 41: "one more"})
    assert await direction.copied() == NUMBERED
    report = await comparison.compare()
    assert (report.rows, report.is_in_agreement) == (len(NUMBERED), True)

    # One row ceases to match and one begins to, and their events are lost.
    await direction.put(3, "another")
    await direction.put(40, "content 40")
    assert counts(await comparison.compare()) == (1, 1, 0, 0, 0)
    assert counts(await comparison.compare(repair=True)) == (1, 1, 0, 0, 2)
    assert await direction.copied() == {number: content for number, content in NUMBERED.items() if number != 3} | {
        40: "content 40"
    }


@pytest.mark.parametrize("route_options", [SELECTED])
async def test_late_event_does_not_bring_back_a_row_that_has_left(comparison: ComparisonHarness) -> None:
    for place, content, seen in ((1, "content", "content"), (3, "another", None), (2, "content of old", None)):
        await comparison.copy(7, content, place=place)
        assert (await comparison.direction.copied()).get(7) == seen
    await comparison.copy(7, "content again", place=4)
    assert await comparison.direction.copied() == {7: "content again"}


@pytest.mark.parametrize("route_options", [{"users": {"where": "is_active ? name == '' : 1"}}])
@pytest.mark.parametrize("comparison", ["users"], indirect=True)
async def test_row_of_which_where_fails_is_unfit(comparison: ComparisonHarness) -> None:
    await comparison.direction.put(2, "content")
    report = await comparison.compare(repair=True)
    assert (report.unfit, report.mended) == (1, 0)
    assert "where: is_active ? name == '' : 1: the result is a int" in (report.examples[0].reason or "")


@pytest.mark.parametrize("route_options", [{"users": {"fields": LABELLED}}])
@pytest.mark.parametrize("comparison", ["users"], indirect=True)
async def test_computed_field_is_compared_and_repaired(comparison: ComparisonHarness) -> None:
    assert isinstance(comparison.direction, Users)
    await comparison.both(NUMBERED)
    assert (await comparison.compare()).is_in_agreement
    copy: Any = comparison.direction.database["users_copy"]
    await copy.update_one({"_id": "u00003"}, {"$set": {"label": "wrong"}})
    assert counts(await comparison.compare(repair=True)) == (0, 0, 1, 0, 1)
    repaired = await comparison.direction.database["users"].find_one({"_id": "u00003"})
    assert repaired["label"] == "customer: content 3"


HIDDEN = {
    **built_in_declarations()["users"]["fields"],
    "hashed": {"from": "name", "type": "string", "hash": True},
    "masked": {"from": "name", "type": "string", "mask": {"last": 1}},
}


@pytest.mark.parametrize("route_options", [{"users": {"fields": HIDDEN}}])
@pytest.mark.parametrize("comparison", ["users"], indirect=True)
async def test_hidden_fields_are_compared_and_repaired(comparison: ComparisonHarness) -> None:
    assert isinstance(comparison.direction, Users)
    await comparison.both(NUMBERED)
    assert (await comparison.compare()).is_in_agreement
    copy: Any = comparison.direction.database["users_copy"]
    before = await copy.find_one({"_id": "u00003"})
    assert (before["masked"], len(before["hashed"])) == ("***3", 64)
    await copy.update_one({"_id": "u00003"}, {"$set": {"hashed": "content 3", "masked": "content 3"}})
    assert counts(await comparison.compare(repair=True)) == (0, 0, 1, 0, 1)
    after = await copy.find_one({"_id": "u00003"})
    assert {name: after[name] for name in HIDDEN} == {name: before[name] for name in HIDDEN}


@pytest.mark.parametrize("route_options", [{"users": {"deletes": "keep-row", "tombstones": "purge"}}])
@pytest.mark.parametrize("comparison", ["users"], indirect=True)
async def test_kept_row_counts_as_deleted_and_a_lost_delete_keeps_the_row(comparison: ComparisonHarness) -> None:
    assert isinstance(comparison.direction, Users)
    await comparison.both(NUMBERED)
    await comparison.direction.remove(3)
    await comparison.copy(3, "", op="d", place=2)
    assert (await comparison.compare()).is_in_agreement
    await comparison.direction.remove(4)
    assert counts(await comparison.compare(repair=True)) == (0, 1, 0, 0, 1)
    deleted = comparison.direction.database["users"].find({"deleted_at": {"$ne": None}})
    assert {row["_id"]: row["name"] async for row in deleted} == {"u00003": "content 3", "u00004": "content 4"}
