"""The ring buffer: what it holds, how far back it reaches, and how it is extended."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service_kit.sse.buffer import EventBuffer


@dataclass(frozen=True)
class Event:
    position: str
    text: bytes = b""


def event(number: int) -> Event:
    return Event(f"82{number:016X}")


BEGINNING = "82" + "0" * 16


def test_buffer_knows_how_far_back_it_reaches() -> None:
    buffer: EventBuffer[Event] = EventBuffer(4, position=BEGINNING)
    for number in range(1, 8):
        buffer.append(event(number))
    assert (buffer.first, buffer.end, buffer.low) == (3, 7, event(3).position)
    assert [buffer[number] for number in range(3, 7)] == [event(number) for number in range(4, 8)]
    assert buffer.reaches_back_to(event(3).position)
    assert not buffer.reaches_back_to(event(2).position)
    assert buffer.number_after(event(3).position) == 3
    assert buffer.number_after(event(5).position + "2B") == 5
    assert buffer.number_after(event(9).position) == buffer.end


def test_buffer_is_extended_backwards_if_it_has_room() -> None:
    buffer: EventBuffer[Event] = EventBuffer(4, position=event(3).position)
    buffer.append(event(4))
    assert buffer.room == 3
    buffer.prepend([event(2), event(3)], event(1).position)
    assert [buffer[number] for number in range(buffer.first, buffer.end)] == [event(2), event(3), event(4)]
    assert buffer.number_after(event(1).position) == buffer.first
    for number in (5, 6):
        buffer.append(event(number))
    assert (buffer.low, buffer.room, buffer[buffer.first]) == (event(2).position, 0, event(3))


@pytest.mark.parametrize("number", [2, 7])
def test_buffer_has_nothing_outside(number: int) -> None:
    buffer: EventBuffer[Event] = EventBuffer(4, position=BEGINNING)
    for each in range(1, 8):
        buffer.append(event(each))
    with pytest.raises(IndexError):
        buffer[number]


@given(st.lists(st.integers(0, 50), max_size=60), st.integers(1, 20), st.integers(1, 200))
def test_buffer_holds_the_latest_events_within_its_limits(sizes: list[int], most: int, max_bytes: int) -> None:
    buffer: EventBuffer[Event] = EventBuffer(most, max_bytes=max_bytes)
    events = [Event(str(number), b"x" * size) for number, size in enumerate(sizes)]
    for each in events:
        buffer.append(each)
    kept = [buffer[number] for number in range(buffer.first, buffer.end)]
    assert kept == events[len(events) - len(kept) :]
    assert buffer.end == len(events)
    assert len(kept) <= most
    assert len(kept) <= 1 or sum(len(each.text) for each in kept) <= max_bytes
    if buffer.first > 0:
        one_more = [events[buffer.first - 1], *kept]
        assert len(one_more) > most or sum(len(each.text) for each in one_more) > max_bytes
