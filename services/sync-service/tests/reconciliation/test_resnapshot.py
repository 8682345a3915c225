"""What `routes resnapshot` says at its end. `tests/e2e/test_resnapshot.py` runs it."""

import json
from typing import TYPE_CHECKING, Any

import pytest

from support.built_in_routes import built_in_declarations
from sync_service.reconciliation.resnapshot import Result, Snapshot, estimated_rows
from sync_service.routes.config import Route
from sync_service.sinks.mongodb.proposal import left_out_by_snapshots
from sync_service.sinks.registry import ComparisonStores

if TYPE_CHECKING:
    # motor's classes are generic for the type checker only.
    from motor.motor_asyncio import AsyncIOMotorDatabase

    Database = AsyncIOMotorDatabase[dict[str, Any]]

BACKFILL = "sync-service routes backfill tweets"


def result(state: str, reason: str | None = None, left_out: str | None = None) -> Result:
    route = Route.model_validate({**built_in_declarations()["tweets"], "name": "tweets"})
    return Result(route, Snapshot("1f0c", "tweets.tweets", state, 5, reason, None), left_out, is_applied=True)


@pytest.mark.parametrize(
    ("found", "code", "text", "by_hand"),
    [
        (result("copied"), 0, "the copy has all rows of tweets.tweets that the snapshot has read", []),
        (
            result("copied", left_out="documents with an _id of type object"),
            3,
            f"because Debezium's snapshot leaves out documents with an _id of type object: {BACKFILL}",
            [BACKFILL],
        ),
        (result("not-copied", "UNKNOWN_SCHEMA"), 3, "has not copied all rows of tweets.tweets (UNKN", [BACKFILL]),
        (result("withdrawn"), 1, "the request was withdrawn, because the connector ", []),
    ],
)
def test_end_of_a_snapshot_names_what_is_left_to_do(found: Result, code: int, text: str, by_hand: list[str]) -> None:
    assert found.exit_code == code
    assert text in str(found)
    assert json.loads(found.json)["by_hand"] == by_hand


async def test_source_that_can_not_be_read_has_no_total() -> None:
    stores = ComparisonStores("mysql+asyncmy://sync@127.0.0.1:1/tweets", "mongodb://127.0.0.1:1")
    assert await estimated_rows(stores, result("copied").route) == 0
    await stores.close()


async def test_ids_that_a_snapshot_leaves_out_are_named(database: "Database") -> None:
    collection = database["things"]
    assert await left_out_by_snapshots(collection) is None
    await collection.insert_many([{"_id": 1}, {"_id": "a"}, {"_id": 1.5}])
    assert await left_out_by_snapshots(collection) is None
    await collection.insert_many([{"_id": {"a": 1}}, {"_id": True}])
    assert await left_out_by_snapshots(collection) == "documents with an _id of type object, bool"
