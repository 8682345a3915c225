"""Extended JSON as the connector writes it, and documents of the application that look like it."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from bson import Binary, ObjectId

from sync_service.debezium.errors import InvalidEvent
from sync_service.debezium.extended_json import decode_document, decode_id, is_ambiguous

TWEET_ID = "6b0501ce4d18d3267f34121c"
MOMENT = datetime(2026, 11, 24, 3, 17, 34, 131000, tzinfo=UTC)
SOME_UUID = UUID(bytes=bytes(range(16)))
UUID_BASE64 = "AAECAwQFBgcICQoLDA0ODw=="


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ({"$oid": TWEET_ID}, TWEET_ID),
        ({"$date": 1795490254131}, MOMENT),
        ({"$date": -62135596800000}, datetime(1, 1, 1, tzinfo=UTC)),
        ({"$numberLong": "9007199254740993"}, 9007199254740993),
        ({"$numberDecimal": "0.10"}, Decimal("0.10")),
        ({"$binary": "AAE=", "$type": "00"}, b"\x00\x01"),
        ({"$binary": UUID_BASE64, "$type": "04"}, SOME_UUID),
        ({"$binary": "AAE=", "$type": "04"}, b"\x00\x01"),
        ({"$undefined": True}, None),
        ({"$symbol": "s"}, "s"),
        ({"nested": [{"$numberLong": "1"}, {"deeper": {"$oid": TWEET_ID}}]}, {"nested": [1, {"deeper": TWEET_ID}]}),
        ({}, {}),
        ([], []),
    ],
)
def test_every_type_of_a_document_is_decoded(written: object, meant: object) -> None:
    assert decode_document(written) == meant
    if isinstance(written, dict) and any(name.startswith("$") for name in written):
        assert is_ambiguous(written)


@pytest.mark.parametrize(
    "own",
    [
        {"$date": "yesterday"},
        {"$date": "2026-11-24T03:17:34.131Z"},
        {"$date": {"$binary": "%"}},
        {"$date": 5, "note": "mine"},
        {"$date": True},
        {"$date": 1e300},
        {"$date": 2**63},
        {"$oid": "zz"},
        {"$oid": TWEET_ID.upper()},
        {"$oid": TWEET_ID, "more": 1},
        {"$oid": None},
        {"$numberLong": "many"},
        {"$numberLong": "007"},
        {"$numberLong": str(2**63)},
        {"$numberLong": 12},
        {"$numberDecimal": "many"},
        {"$numberDecimal": 1},
        {"$numberInt": "7"},
        {"$numberDouble": "NaN"},
        {"$binary": "!!"},
        {"$binary": "AAE="},
        {"$binary": "AAE=", "$type": "zz"},
        {"$binary": {"base64": "AAE=", "subType": "00"}},
        {"$uuid": "00010203-0405-0607-0809-0a0b0c0d0e0f"},
        {"$undefined": 1},
        {"$symbol": 1},
        {"$x": 1, "$date": 5},
        # What has no value in Python is kept as it is written.
        {"$timestamp": {"t": 1, "i": 2}},
        {"$date": 253402300800000},
    ],
)
def test_documents_of_the_application_are_kept(own: dict[str, Any]) -> None:
    assert decode_document({"j": {"x": own}}) == {"j": {"x": own}}
    assert not is_ambiguous(own)


def test_values_in_documents_of_the_application_are_decoded() -> None:
    assert decode_document({"$date": {"$numberLong": "5"}}) == {"$date": 5}


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ({"$oid": TWEET_ID}, ObjectId(TWEET_ID)),
        (TWEET_ID, TWEET_ID),
        ({"$date": "2026-11-24T03:17:34.131Z"}, MOMENT),
        ({"$date": {"$numberLong": "1795490254131"}}, MOMENT),
        ({"$date": 1795490254131}, MOMENT),
        ({"$date": {"$numberLong": "253402300800000"}}, {"$date": {"$numberLong": "253402300800000"}}),
        ({"$numberLong": "9007199254740993"}, 9007199254740993),
        ({"$numberInt": "7"}, 7),
        ({"$numberDouble": "0.5"}, 0.5),
        ({"$numberDecimal": "0.10"}, Decimal("0.10")),
        ({"$binary": {"base64": "AAE=", "subType": "00"}}, b"\x00\x01"),
        ({"$binary": {"base64": "AAE=", "subType": "05"}}, Binary(b"\x00\x01", 5)),
        ({"$binary": {"base64": UUID_BASE64, "subType": "4"}}, SOME_UUID),
        ({"$binary": UUID_BASE64, "$type": "03"}, Binary(SOME_UUID.bytes, 3)),
        ({"$uuid": str(SOME_UUID)}, SOME_UUID),
        ({"a": {"$oid": TWEET_ID}, "b": [1.5, {"$numberInt": "2"}]}, {"a": ObjectId(TWEET_ID), "b": [1.5, 2]}),
    ],
)
def test_every_form_of_an_id_is_decoded_with_its_type(written: object, meant: object) -> None:
    decoded = decode_id(written)
    assert decoded == meant
    assert type(decoded) is type(meant)


@pytest.mark.parametrize(
    "written",
    [
        {"$date": "yesterday"},
        {"$oid": "zz"},
        {"$numberLong": "many"},
        {"$numberDecimal": "many"},
        {"$binary": "%"},
        {"$numberDouble": "NaN"},
        {"$date": 1e300},
    ],
)
def test_id_that_is_no_extended_json_is_an_invalid_event(written: object) -> None:
    with pytest.raises(InvalidEvent):
        decode_id(written)
