"""What identifies an `_id`: equal for ids that MongoDB takes for one, different for all others."""

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import combinations
from typing import Any
from uuid import UUID

import pytest
from bson import Binary, Decimal128, Int64, ObjectId
from bson.binary import UuidRepresentation
from bson.json_util import RELAXED_JSON_OPTIONS, dumps
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo.errors import DuplicateKeyError

from sync_service.debezium.extended_json import decode_id
from sync_service.debezium.source import decode_json
from sync_service.sinks.mongodb.source_id import source_id

OID, SOME_UUID = ObjectId("5f" * 12), UUID(int=7)
# The ids of each group are one id in MongoDB.
GROUPS: Sequence[Sequence[Any]] = (
    (OID,),
    (str(OID),),
    (Binary.from_uuid(SOME_UUID, UuidRepresentation.STANDARD),),
    (str(SOME_UUID),),
    (SOME_UUID.bytes,),
    (Binary(SOME_UUID.bytes, 3),),
    (Binary(SOME_UUID.bytes, 5),),
    (True,),
    (False,),
    (1, 1.0, Int64(1), Decimal128("1"), Decimal128("1.00"), Decimal128("10E-1")),
    (0, 0.0, -0.0, Decimal128("0"), Decimal128("-0.0")),
    ("1",),
    ("a",),
    ("A",),
    ("a ",),
    ("",),
    ("\0",),
    ("e\u0301",),
    ("é",),
    (0.1,),
    (Decimal128("0.1"), Decimal128("0.10")),
    (0.5, Decimal128("0.5")),
    (2**53 + 1, Decimal128(str(2**53 + 1))),
    (float(2**53),),
    (1e18, Int64(10**18), Decimal128("1E18")),
    (Decimal128("1E-6176"),),
    (Decimal128("9.999999999999999999999999999999999E+6144"),),
    (datetime(2026, 1, 1, tzinfo=UTC),),
    (datetime(2026, 1, 1, 0, 0, 0, 1000, tzinfo=UTC),),
    (datetime(1, 1, 1, tzinfo=UTC),),
    ("2026-01-01T00:00:00Z",),
    ({"a": 1, "b": "x"}, {"a": 1.0, "b": "x"}),
    ({"b": "x", "a": 1},),
    ({"a": 1, "b": "x", "c": 1},),
    ({"a": 1, "b": "x", "c": 2},),
    ({"a": {"b": "x"}},),
    ({"a": ["x"]},),
    ({"a": None},),
    ({},),
    ({"a": "1:bs1:c"},),
    ({"a": "1", "b": "c"},),
)


def test_ids_of_one_group_are_equal_and_all_others_different() -> None:
    texts = [{source_id(identifier) for identifier in group} for group in GROUPS]
    assert [len(found) for found in texts] == [1] * len(GROUPS)
    assert len(set.union(*texts)) == len(GROUPS)
    assert all(len(text) <= 24 for text in set.union(*texts))


def test_id_of_an_event_equals_that_of_a_document() -> None:
    for identifier in (each for group in GROUPS for each in group):
        options = RELAXED_JSON_OPTIONS.with_options(tz_aware=True)
        written = dumps({"id": identifier}, json_options=options)
        # (The driver keeps more than milliseconds of no date, but it writes decimals and dates of any size.)
        assert source_id(decode_id(decode_json(written))["id"]) == source_id(identifier), identifier


async def test_mongodb_agrees(mongodb_url: str) -> None:
    """MongoDB takes ids for one exactly if they are of one group."""
    client: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(mongodb_url)
    collection = client["source_ids"]["ids"]
    await collection.drop()
    try:
        for group in GROUPS:
            await collection.insert_one({"_id": group[0]})
            for again in group[1:]:
                with pytest.raises(DuplicateKeyError):
                    await collection.insert_one({"_id": again})
        assert await collection.count_documents({}) == len(GROUPS)
    finally:
        await client.drop_database("source_ids")
        client.close()


def test_pairs_have_no_common_text() -> None:
    """The encoding is prefix-free where values follow each other in a document."""
    values = [group[0] for group in GROUPS if not isinstance(group[0], dict)]
    seen: dict[str, Any] = {}
    for left, right in combinations(values, 2):
        for pair in ({"x": left, "y": right}, {"x": right, "y": left}):
            text = source_id(pair)
            assert text not in seen, (pair, seen.get(text))
            seen[text] = pair
