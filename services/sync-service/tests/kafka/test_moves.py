"""A copy moves to another database while processes of the earlier release and of this one share the work."""

import secrets
from typing import Any

import pytest
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor

from service_kit.moved_copy import STATES
from support.change_events import mysql_event
from support.polling import eventually
from support.sync_harness import PARTITIONS, SyncHarness
from sync_service.kafka import group
from sync_service.kafka.members import has_only_marked_members
from sync_service.routes.config import Route

USERS = 30
AT = "2026-11-24T03:17:34.081894Z"
USER = {
    "role": "customer",
    "is_active": 1,
    "tokens_valid_after": None,
    "created_at": AT,
    "updated_at": AT,
}


def user_event(number: int, place: int, *, op: str = "u") -> Any:
    user = {**USER, "id": f"u{number}", "username": f"user{number}", "name": str(place)}
    return mysql_event(user, op=op, pos=place)


async def send_round(harness: SyncHarness, place: int, *, op: str = "u") -> None:
    """One event for each user, in its partition."""
    for number in range(USERS):
        event = user_event(number, place + number, op=op)
        await harness.send(harness.users_topic, event, partition=number % PARTITIONS)


def in_database(route: Route, database: str) -> Route:
    return route.model_copy(update={"target": route.target.model_copy(update={"database": database})})


async def test_rolling_upgrade_loses_no_change(harness: SyncHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    moved_to = harness.mongo.client[f"{harness.mongo.name}_{secrets.token_hex(2)}_auth"]
    group_id = harness.settings.sync_group_id

    async def names(database: Any) -> set[str]:
        return {user["name"] async for user in database["users_copy"].find({"_sync.deleted_at": None})}

    def of_round(place: int) -> set[str]:
        return {str(place + number) for number in range(USERS)}

    async def steps() -> set[str]:
        state = await moved_to[STATES].find_one() or {}
        return {name for name, value in state.items() if value is not None}

    # The earlier release: without the mark, and without a database in its route.
    monkeypatch.setattr(group, "MarkingAssignor", RoundRobinPartitionAssignor)
    earlier = harness.start_sync()
    await send_round(harness, 1000, op="c")
    await eventually(lambda: names(harness.mongo), of_round(1000).__le__)
    assert not await has_only_marked_members(harness.kafka, group_id)
    monkeypatch.undo()
    try:
        harness.routes[0] = in_database(harness.routes[0], moved_to.name)
        later = harness.start_sync(sync_move_quiet_seconds=2)
        await eventually(steps, {"moved_from"}.__le__)
        for place in (2000, 3000):
            await send_round(harness, place)
            await eventually(lambda: names(harness.mongo), of_round(place).__le__)
        assert "complete_at" not in await steps()
        await harness.stop_sync(earlier)
        await send_round(harness, 4000)
        await eventually(steps, {"complete_at"}.__le__)
        await eventually(lambda: names(moved_to), of_round(4000).__le__)
        assert later.problem is None
        await eventually(steps, {"retired_at"}.__le__)
    finally:
        await harness.stop_sync(later)
        await harness.mongo.client.drop_database(moved_to.name)
