"""Decoding of change events, valid and invalid ones."""

import json
from datetime import UTC, datetime
from itertools import pairwise

import pytest
from bson import ObjectId

from support.change_events import mongodb_event, mysql_event
from sync_service.debezium.envelope import decode
from sync_service.debezium.errors import InvalidEvent, MissingKey, UnsupportedOperation
from sync_service.debezium.positions import LogPosition
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


@pytest.mark.parametrize("place", ["op", "connector", "gtid", "file"])
def test_reason_of_an_invalid_event_quotes_nothing_of_it(place: str) -> None:
    """A record that is not of Debezium may contain anything, and logs and the feed have the reason."""
    secret = "ada' - at @example.com"
    key, value = mysql_event({"id": "u1"})
    record = json.loads(value or b"")
    if place == "op":
        record["op"] = secret
    else:
        record["source"].update({"gtid": None, place: secret})

    def read() -> LogPosition | None:
        event = decode(key, json.dumps(record).encode())
        return None if event is None else event.position

    with pytest.raises(InvalidEvent) as refused:
        read()
    assert "ada" not in str(refused.value)
    assert "example" not in str(refused.value)


@pytest.mark.parametrize("key", [None, b"", b"[1]", b'"u1"'])
def test_event_without_a_key_is_refused(key: bytes | None) -> None:
    _, value = mysql_event({"id": "u1"})
    with pytest.raises(MissingKey):
        decode(key, value)


def test_mongodb_key_that_is_no_extended_json_is_refused() -> None:
    _, value = mongodb_event({"_id": {"$oid": TWEET_ID}})
    with pytest.raises(InvalidEvent):
        decode(json.dumps({"id": "{"}).encode(), value)


SERVER_UUID = "3e11fa47-71ca-11e1-9e33-c80aa9429562"


def mysql_source(
    gtid: str | None = None, *, file: str = "binlog.000002", pos: int = 4, server_id: int = 1, ts_ms: int = 1
) -> MysqlSource:
    return MysqlSource(name="cdc.mysql", ts_ms=ts_ms, file=file, pos=pos, gtid=gtid, server_id=server_id)


def test_mysql_transactions_with_gtids_sort_by_number_wherever_they_are_in_the_log() -> None:
    sources = [mysql_source(f"{SERVER_UUID}:{number}", pos=1000 - number, ts_ms=number) for number in (2, 9, 10, 100)]
    for earlier, later in pairwise(source.position for source in sources):
        assert earlier.precedes(later)
        assert not later.precedes(earlier)
    assert not sources[0].position.precedes(sources[0].position)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (mysql_source(f"{SERVER_UUID}:1"), mysql_source("e4f2a3b1-71ca-11e1-9e33-c80aa9429562:9", ts_ms=9)),
        (mysql_source(f"{SERVER_UUID}:1"), mysql_source(f"{SERVER_UUID}:tag:9", ts_ms=9)),
        (mysql_source(f"{SERVER_UUID}:1"), mysql_source(f"{SERVER_UUID}:9", ts_ms=9, server_id=2)),
        (mysql_source(f"{SERVER_UUID}:1"), mysql_source(pos=9, ts_ms=9)),
        (mysql_source(pos=4), mysql_source(pos=9, ts_ms=9, server_id=2)),
        (mysql_source(pos=4), mysql_source(file="mysql-bin.000003", ts_ms=9)),
        (mysql_source(f"{SERVER_UUID}:1", ts_ms=9), mysql_source(f"{SERVER_UUID}:9", ts_ms=8)),
        (mysql_source(pos=4, ts_ms=9), mysql_source(pos=9, ts_ms=8)),
    ],
    ids=["uuid", "tag", "server of a group", "no gtid", "server", "log", "number and time", "place and time"],
)
def test_mysql_transactions_that_differ_in_this_have_no_provable_order(one: MysqlSource, other: MysqlSource) -> None:
    assert not one.position.precedes(other.position)
    assert not other.position.precedes(one.position)


def test_mysql_places_without_gtids_sort_like_the_log_and_not_like_text() -> None:
    places = [("binlog.000002", 4), ("binlog.000002", 900), ("binlog.000002", 1000), ("binlog.999999", 4)]
    sources = [
        mysql_source(file=file, pos=pos, ts_ms=60_000 * number)
        for number, (file, pos) in enumerate((*places, ("binlog.1000000", 4)))
    ]
    for earlier, later in pairwise(source.position for source in sources):
        assert earlier.precedes(later)


def test_mysql_places_without_gtids_within_a_minute_have_no_provable_order() -> None:
    """The time is that of the statement's start, in whole seconds, and a replica's log has other places."""
    assert not mysql_source(pos=4, ts_ms=1000).position.precedes(mysql_source(pos=9, ts_ms=60_999).position)


@pytest.mark.parametrize("ts_ms", [-1, 10**15])
def test_event_whose_time_has_no_place_in_a_position_is_invalid(ts_ms: int) -> None:
    with pytest.raises(InvalidEvent):
        _ = mysql_source(f"{SERVER_UUID}:7", ts_ms=ts_ms).position


def test_events_of_a_compressed_mysql_transaction_have_one_position() -> None:
    """Debezium writes the place of the compressed transaction for all of them."""
    assert mysql_source(pos=700).position == mysql_source(pos=700).position


def test_mongodb_changes_have_a_provable_order_beyond_the_difference_of_clocks() -> None:
    def position(ts_ms: int) -> LogPosition:
        return MongodbSource(name="cdc.mongo", ts_ms=ts_ms).position

    assert position(1).precedes(position(60_001))
    assert not position(1).precedes(position(60_000))
    assert not position(60_001).precedes(position(1))


def test_snapshot_reads_have_no_position() -> None:
    """A connector's clock is ahead of every change, and MySQL's snapshot has no GTID."""
    for key, value in (
        mysql_event({"id": "1"}, op="r"),
        mongodb_event({"_id": {"$oid": TWEET_ID}}, op="r"),
    ):
        event = decode(key, value)
        assert event is not None
        assert event.position is None


def test_stored_position_is_read_as_it_was_written() -> None:
    position = mysql_source(f"{SERVER_UUID}:7", ts_ms=1_795_490_254_132).position
    assert LogPosition.stored(position.generation, position.text) == position
    assert len(position.text) <= 80


def test_mysql_event_without_a_position_is_an_invalid_event() -> None:
    with pytest.raises(InvalidEvent):
        _ = mysql_source(file="binlog").position
    with pytest.raises(InvalidEvent):
        _ = mysql_source(file="binlog.²").position
    with pytest.raises(InvalidEvent):
        _ = mysql_source(file="").position
    for gtid in ("7", f"{SERVER_UUID}:", f"{SERVER_UUID}:x"):
        with pytest.raises(InvalidEvent):
            _ = mysql_source(gtid).position
