"""Decoding of change events, valid and invalid ones."""

import json
from datetime import UTC, datetime

import pytest
from bson import ObjectId

from support.change_events import mongodb_event, mysql_event
from sync_service.debezium.envelope import decode
from sync_service.debezium.errors import InvalidEvent, MissingKey, UnsupportedOperation
from sync_service.sinks.mongodb.source import MongodbSource
from sync_service.sinks.mysql.source import MysqlSource

TWEET_ID = "6b0501ce4d18d3267f34121c"
MOMENT = datetime(2026, 11, 24, 3, 17, 34, 131000, tzinfo=UTC)


def test_mysql_event_is_decoded() -> None:
    event = decode(*mysql_event({"id": "u1", "name": "Ada"}, op="u"))
    assert event is not None
    assert (event.operation, event.key, event.after) == ("u", {"id": "u1"}, {"id": "u1", "name": "Ada"})


def test_before_is_decoded_on_access() -> None:
    event = decode(*mysql_event({"id": "u1", "name": "Ada"}, op="d"))
    assert event is not None
    assert (event.before, event.after) == ({"id": "u1", "name": "Ada"}, None)
    broken = decode(*mongodb_event({"_id": {"$oid": TWEET_ID}}, before="{"))
    assert broken is not None
    with pytest.raises(InvalidEvent):
        _ = broken.before


def test_mongodb_event_is_decoded_with_the_documents_id_as_key() -> None:
    event = decode(*mongodb_event({"_id": {"$oid": TWEET_ID}, "created_at": {"$date": 1795490254131}}))
    assert event is not None
    assert event.key == {"_id": ObjectId(TWEET_ID)}
    assert event.after == {"_id": TWEET_ID, "created_at": MOMENT}


def test_too_deep_nesting_is_an_invalid_event() -> None:
    deep = "[" * 5000 + "]" * 5000
    key, value = mysql_event({"id": "u1", "name": "deep"})
    assert value is not None
    for broken in (deep.encode(), value.replace(b'"deep"', deep.encode())):
        with pytest.raises(InvalidEvent):
            decode(key, broken)
    with pytest.raises(InvalidEvent):
        decode(*mongodb_event({"_id": {"$oid": TWEET_ID}, "entities": json.loads("[" * 900 + "]" * 900)}))


def test_log_compaction_tombstone_is_no_event() -> None:
    assert decode(b'{"id":1}', None) is None


@pytest.mark.parametrize("value", [b"", b"{", b"[]", b"null", b'{"op":"c"}', b"\xff\xfe", b'{"op":1,"source":{}}'])
def test_record_without_an_envelope_is_an_invalid_event(value: bytes) -> None:
    with pytest.raises(InvalidEvent):
        decode(b'{"id":1}', value)


def test_nan_as_a_bare_word_is_an_invalid_event() -> None:
    key, value = mysql_event({"id": "u1", "score": 12345})
    assert value is not None
    with pytest.raises(InvalidEvent):
        decode(key, value.replace(b"12345", b"NaN"))
    key, value = mongodb_event({"_id": {"$oid": TWEET_ID}, "score": 12345})
    assert value is not None
    with pytest.raises(InvalidEvent):
        decode(key, value.replace(b"12345", b"NaN"))


@pytest.mark.parametrize("op", ["t", "m", "x", ""])
def test_operation_that_changes_no_single_row_is_refused(op: str) -> None:
    with pytest.raises(UnsupportedOperation):
        decode(*mysql_event({"id": "u1"}, op=op))


@pytest.mark.parametrize("key", [None, b"", b"[1]", b'"u1"'])
def test_event_without_a_key_is_refused(key: bytes | None) -> None:
    _, value = mysql_event({"id": "u1"})
    with pytest.raises(MissingKey):
        decode(key, value)


def test_mongodb_key_that_is_no_extended_json_is_refused() -> None:
    _, value = mongodb_event({"_id": {"$oid": TWEET_ID}})
    with pytest.raises(InvalidEvent):
        decode(json.dumps({"id": "{"}).encode(), value)


def mysql_source(file: str, pos: int = 4, row: int = 0, gtid: str | None = "uuid-1:7") -> MysqlSource:
    return MysqlSource(name="cdc.mysql", ts_ms=1, file=file, pos=pos, row=row, gtid=gtid)


def test_mysql_positions_sort_like_the_log_and_not_like_text() -> None:
    in_order = [
        mysql_source("binlog.000002", 4),
        mysql_source("binlog.000002", 900),
        mysql_source("binlog.000002", 1000),
        mysql_source("binlog.000002", 1000, row=1),
        mysql_source("binlog.000010", 4),
        mysql_source("binlog.999999", 4),
        mysql_source("binlog.1000000", 4),
    ]
    positions = [source.position for source in in_order]
    assert positions == sorted(positions, key=str)
    assert len(set(positions)) == len(positions)


def test_mysql_snapshot_has_a_position_and_a_generation_without_server() -> None:
    snapshot = mysql_source("binlog.000002", gtid=None)
    streaming = mysql_source("binlog.000002")
    other = mysql_source("binlog.000002", gtid="uuid-2:7")
    assert snapshot.position is not None
    assert streaming.log_generation.startswith(snapshot.log_generation)
    assert other.log_generation.startswith(snapshot.log_generation)
    assert streaming.log_generation != other.log_generation
    assert not mysql_source("mysql-bin.000002").log_generation.startswith(snapshot.log_generation)


def test_mongodb_positions_sort_by_time_and_ordinal_and_snapshots_have_none() -> None:
    def source(ts_ms: int, ordinal: int) -> MongodbSource:
        return MongodbSource(name="cdc.mongo", ts_ms=ts_ms, ord=ordinal)

    positions = [source(*place).position for place in ((999, 12), (1000, 1), (1000, 2), (1000, 10), (10000, 1))]
    assert positions == sorted(positions, key=str)
    assert source(1795490254132, -1).position is None


def test_mysql_event_without_a_position_is_an_invalid_event() -> None:
    with pytest.raises(InvalidEvent):
        _ = mysql_source("binlog").position
    with pytest.raises(InvalidEvent):
        _ = mysql_source("binlog.²").position
    with pytest.raises(InvalidEvent):
        _ = mysql_source("").log_generation
