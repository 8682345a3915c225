"""The apply rule on the events of a MySQL replication group.

A group has one uuid, hands numbers out to its members in blocks, and gives the unused ones out again when a member
comes or goes. So a later transaction can have a lower number. `server_id` is that of the member on which a transaction
was committed first, whichever member Debezium reads.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import pytest

from sync_service.apply.ordering import Version, applies, merged, offset, topic_partition
from sync_service.sinks.mysql.source import MysqlSource

TOPIC = "a" * 32
Rule = Callable[[Version, Version | None], bool]

# Debezium 3.6.1 wrote these while it read member 1 of a group of two MySQL 9.7 servers, both of which took writes. `n`
# counts the changes of one row. After the ninth, member 2 came back to the group, and the blocks were swapped.
RECORDED = [json.loads(line) for line in Path(__file__).with_suffix(".ndjson").read_text().splitlines()]


def versions(events: Sequence[dict[str, object]] = RECORDED) -> list[Version]:
    """One version for each event, in the order of the topic."""
    found = []
    for place, event in enumerate(events):
        source = msgspec.convert({**event, "connector": "mysql", "name": "cdc.mysql"}, MysqlSource)
        found.append(Version(topic_partition(TOPIC, 0), offset(place), source.position, str(event["op"])))
    return found


def number(event: dict[str, object]) -> int:
    return int(str(event["gtid"]).rpartition(":")[2])


def not_above_is_skipped(incoming: Version, stored: Version | None) -> bool:
    """A rule that takes a lower number for an older transaction."""
    if stored is None or incoming.position is None or stored.position is None:
        return True
    return incoming.position.transaction > stored.position.transaction


def last_applied(incoming: Sequence[Version], rule: Rule) -> Version | None:
    stored: Version | None = None
    for each in incoming:
        if rule(each, stored):
            stored = merged(each, stored)
    return stored


def test_recording_has_later_transactions_with_lower_numbers() -> None:
    numbers = [number(event) for event in RECORDED]
    assert numbers != sorted(numbers)
    assert {event["server_id"] for event in RECORDED} == {1, 2}
    assert [event["n"] for event in RECORDED] == list(range(1, len(RECORDED) + 1))


def test_every_later_transaction_is_applied_whatever_its_number() -> None:
    history = versions()
    for end in range(1, len(history) + 1):
        assert last_applied(history[:end], applies) == history[end - 1]


@pytest.mark.parametrize("start", range(len(RECORDED)))
def test_row_ends_right_if_connect_repeats_itself(start: int) -> None:
    repeated = versions([*RECORDED, *RECORDED[start:]])
    ended = last_applied(repeated, applies)
    assert ended is not None
    assert ended.position == repeated[-1].position


def test_rule_of_numbers_alone_would_lose_changes() -> None:
    history = versions()
    assert any(last_applied(history[:end], not_above_is_skipped) != history[end - 1] for end in range(1, len(history)))


def test_older_transactions_of_one_member_are_refused_if_its_numbers_agree() -> None:
    """Those of another member, or of a lower block, are not provably older."""
    history = versions()
    for later, newer in enumerate(RECORDED):
        for earlier, older in enumerate(RECORDED[:later]):
            sent_again = versions([*RECORDED[: later + 1], older])[-1]
            is_provable = older["server_id"] == newer["server_id"] and number(older) < number(newer)
            assert applies(sent_again, history[later]) is not is_provable, (earlier, later)
