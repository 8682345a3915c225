"""Why a route stops: the cause lies in the route, its source or its copy, and not in a single event.

An operator may also pause it.
"""

from typing import Literal

StopCause = Literal["not-prepared", "refused", "no-keys", "too-many-dead-letters", "unexpected-error", "paused"]

# A restart does not try again after these causes: each attempt could add dead letters, or an operator has paused the
# route. So an operator decides.
NEEDS_DECISION: frozenset[StopCause] = frozenset({"too-many-dead-letters", "paused"})


class RouteStopped(Exception):  # noqa: N818 - a state of the route
    """The route can't continue. `next_offset` is that of the first event that is not finished."""

    def __init__(self, cause: StopCause, reason: str, next_offset: int) -> None:
        super().__init__(reason)
        self.cause: StopCause = cause
        self.reason = reason
        self.next_offset = next_offset
