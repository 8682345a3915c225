"""What differs between two sets of routes. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from sync_service.routes.config import Route


def is_same(one: Route, other: Route) -> bool:
    """Equal, and not only for Python, for which a constant 1 is equal to true."""
    return one == other and repr(one) == repr(other)


@dataclass(frozen=True, slots=True)
class RouteChanges:
    """Names of routes. False if there are none."""

    added: Sequence[str] = ()
    changed: Sequence[str] = ()
    removed: Sequence[str] = ()

    @classmethod
    def between(cls, before: Sequence[Route], after: Sequence[Route]) -> Self:
        former, current = ({route.name: route for route in routes} for routes in (before, after))
        return cls(
            added=tuple(name for name in current if name not in former),
            changed=tuple(
                name for name, route in current.items() if name in former and not is_same(route, former[name])
            ),
            removed=tuple(name for name in former if name not in current),
        )

    def __bool__(self) -> bool:
        return bool(self.added or self.changed or self.removed)
