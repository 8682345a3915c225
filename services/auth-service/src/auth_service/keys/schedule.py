"""When each key signs and is published. Pure: all replicas get the same result from the clock."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Protocol, TypeVar

# A key is published this long before it signs. It is longer than any cache of the key set (`Cache-Control`,
# `RemoteKeySet`'s `max_age`) and than the interval at which replicas read the keys.
LEAD = timedelta(minutes=15)
# A key is published this long after it signed last: the maximum lifetime of an access token, plus clock differences.
LAST_TOKENS = timedelta(seconds=3600 + 60)


class Scheduled(Protocol):
    @property
    def signs_from(self) -> datetime: ...


KeyT = TypeVar("KeyT", bound=Scheduled)


def signing(keys: Sequence[KeyT], now: datetime) -> KeyT:
    """The key that signs now. `keys` are sorted by `signs_from` and not empty."""
    begun = [key for key in keys if key.signs_from <= now]
    return begun[-1] if begun else keys[0]


def published(keys: Sequence[KeyT], now: datetime) -> list[KeyT]:
    """The keys that sign, will sign, or have signed tokens that may not have expired yet."""
    successors = [*keys[1:], None]
    return [
        key
        for key, successor in zip(keys, successors, strict=True)
        if successor is None or now < successor.signs_from + LAST_TOKENS
    ]


def is_rotation_due(keys: Sequence[KeyT], now: datetime, interval: timedelta) -> bool:
    """Whether the next key must be created now, to sign when the newest one has signed for `interval`."""
    return not keys or now >= keys[-1].signs_from + interval - LEAD
