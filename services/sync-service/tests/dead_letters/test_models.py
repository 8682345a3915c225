"""Records of the dead letters' topic, and the index of open dead letters: pure functions."""

from typing import Any

import pytest
from aiokafka import ConsumerRecord
from hypothesis import given
from hypothesis import strategies as st

from sync_service.dead_letters.index import DeadLetterIndex
from sync_service.dead_letters.models import (
    DEAD_LETTERS_TOPIC,
    UNKNOWN_TOPIC_ID,
    DeadLetter,
    DeadLetterId,
    Origin,
    Record,
    Resolution,
    dead_letter_headers,
    read,
    resolution_headers,
)

TOPIC_ID = "a" * 32


def record(headers: Any, *, topic: str = DEAD_LETTERS_TOPIC, offset: int = 0, partition: int = 0) -> Record:
    return ConsumerRecord(
        topic=topic,
        partition=partition,
        offset=offset,
        timestamp=1_795_490_254_088,
        timestamp_type=0,
        key=b"k",
        value=b"v",
        checksum=None,
        serialized_key_size=1,
        serialized_value_size=1,
        headers=headers,
    )


EVENT = record([], topic="cdc.x", offset=7, partition=3)


def letter(offset: int, partition: int = 0) -> Record:
    told = dead_letter_headers(EVENT, "TASK_PUT", ValueError("no"), TOPIC_ID)
    return record(told, offset=offset, partition=partition)


def resolution(of: DeadLetterId, offset: int) -> Record:
    return record(resolution_headers(of, "applied", "ada"), offset=offset, partition=of.partition)


def test_dead_letter_is_parsed_as_it_was_written() -> None:
    found = read(letter(5))
    assert isinstance(found, DeadLetter)
    assert (found.id, found.origin) == (DeadLetterId(0, 5), Origin("cdc.x", TOPIC_ID, 3, 7))
    assert (found.stage, found.error, found.reason) == ("TASK_PUT", "ValueError", "no")
    assert (found.key, found.value, found.headers, found.omitted_bytes) == (b"k", b"v", [], None)


def test_resolution_is_parsed_as_it_was_written() -> None:
    found = read(resolution(DeadLetterId(0, 5), 6))
    assert isinstance(found, Resolution)
    assert (found.letter, found.result, found.by) == (DeadLetterId(0, 5), "applied", "ada")


def test_headers_of_the_event_do_not_change_the_dead_letter() -> None:
    """They come before ours: one that calls itself a resolution, one that was a dead letter elsewhere."""
    foreign = [
        *resolution_headers(DeadLetterId(0, 1), "discarded", "mallory"),
        ("__connect.errors.topic", b"elsewhere"),
        ("origin", b"test"),
    ]
    found = read(record([*foreign, *dead_letter_headers(EVENT, "TASK_PUT", ValueError("no"), TOPIC_ID)]))
    assert isinstance(found, DeadLetter)
    assert found.origin.topic == "cdc.x"
    assert found.headers == [("origin", b"test")]


def test_dead_letter_of_an_earlier_release_has_the_unknown_topic_id() -> None:
    told = dead_letter_headers(EVENT, "TASK_PUT", ValueError("no"), TOPIC_ID)
    found = read(record([(name, value) for name, value in told if name != "sync.origin.topic-id"]))
    assert isinstance(found, DeadLetter)
    assert found.origin.topic_id == UNKNOWN_TOPIC_ID


@pytest.mark.parametrize("headers", [[], [("__connect.errors.topic", b"x")], [("sync.resolution.letter", b"x")]])
def test_other_records_are_ignored(headers: list[tuple[str, bytes]]) -> None:
    assert read(record(headers)) is None


@given(st.text())
def test_text_that_is_no_id_is_none(text: str) -> None:
    found = DeadLetterId.of(text)
    assert found is None or all(int(part) == number for part, number in zip(text.split("-"), found, strict=True))


@given(st.integers(0, 10**9 - 1), st.integers(0, 10**18 - 1))
def test_id_round_trips(partition: int, offset: int) -> None:
    assert DeadLetterId.of(str(DeadLetterId(partition, offset))) == (partition, offset)


@given(st.lists(st.tuples(st.integers(0, 1), st.none() | st.integers(0, 40)), max_size=40), st.integers(0, 40))
def test_dead_letters_without_a_resolution_are_open(records: list[tuple[int, int | None]], first: int) -> None:
    """In each of two partitions a letter comes, or a resolution of an earlier record."""
    index, ends, wanted, resolved = DeadLetterIndex(TOPIC_ID), [0, 0], set(), set()
    for partition, earlier in records:
        offset = ends[partition]
        ends[partition] += 1
        if earlier is None:
            index.note(letter(offset, partition))
            wanted.add(DeadLetterId(partition, offset))
        else:
            index.note(resolution(DeadLetterId(partition, earlier), offset))
            if DeadLetterId(partition, earlier) in wanted:
                wanted.discard(DeadLetterId(partition, earlier))
                resolved.add(DeadLetterId(partition, earlier))
    assert list(index.open_after(None, None)) == sorted(wanted)
    assert list(index.open_after(None, {"cdc.y"})) == []
    assert index.reached == {number: end for number, end in enumerate(ends) if end}
    for each in resolved:
        assert not index.is_open(each)
        assert index.resolution(each) is not None
    middle = DeadLetterId(0, first)
    assert list(index.open_after(middle, {"cdc.x"})) == sorted(each for each in wanted if each > middle)
    index.forget_before({0: first, 1: 0})
    kept = {each for each in wanted | resolved if each.partition == 1 or each.offset >= first}
    assert {each for each in wanted | resolved if index.has(each)} == kept
