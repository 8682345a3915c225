"""Which key signs when, and which ones are published. Pure: every replica comes to the same answer by the clock."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Protocol, TypeVar

# A key is published for so long before it signs: longer than anybody keeps a key set (`Cache-Control`, and
# `RemoteKeySet`'s `max_age`), and than replicas go without looking.
LEAD = timedelta(minutes=15)
# A key is published for so long after it signed last: the longest that an access token may live, and clocks differ.
LAST_TOKENS = timedelta(seconds=3600 + 60)


class Scheduled(Protocol):
    @property
    def signs_from(self) -> datetime: ...


KeyT = TypeVar("KeyT", bound=Scheduled)


def signing(keys: Sequence[KeyT], now: datetime) -> KeyT:
    """The key that signs at this moment. `keys` are in the order of `signs_from`, and there is one."""
    begun = [key for key in keys if key.signs_from <= now]
    return begun[-1] if begun else keys[0]


def published(keys: Sequence[KeyT], now: datetime) -> list[KeyT]:
    """Those that sign, will sign, or have signed a token that may not have expired yet."""
    successors = [*keys[1:], None]
    return [
        key
        for key, successor in zip(keys, successors, strict=True)
        if successor is None or now < successor.signs_from + LAST_TOKENS
    ]


def is_rotation_due(keys: Sequence[KeyT], now: datetime, interval: timedelta) -> bool:
    """Must the next key be made now, to be known by the time the newest one has signed for `interval`?"""
    return not keys or now >= keys[-1].signs_from + interval - LEAD
