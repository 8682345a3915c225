"""Whose fault an error of a store is. `mysql/errors.py` and `mongodb/errors.py` classify the codes of their servers."""

from enum import Enum

from sync_service.sinks.base import Rejected, RouteRefused, Unavailable, UnknownFailure


class Fault(Enum):
    """ROW: the values of one row. ROUTE: the table, the collection or the rights of one route, whatever the row.
    DEPENDENCY: the server or the connection; a later attempt may succeed. UNKNOWN: the code does not say.
    """

    ROW = "row"
    ROUTE = "route"
    DEPENDENCY = "dependency"
    UNKNOWN = "unknown"


def failure(fault: Fault, store: str, reason: str, *, of_row: bool = True) -> Rejected | Unavailable:
    """The exception of a sink for an error. Without a row to blame (`of_row`), a fault of a row is the route's."""
    match Fault.ROUTE if fault is Fault.ROW and not of_row else fault:
        case Fault.ROW:
            return Rejected(reason)
        case Fault.ROUTE:
            return RouteRefused(f"{store}: {reason}")
        case Fault.UNKNOWN:
            return UnknownFailure(f"{store}: {reason}")
    return Unavailable(f"{store}: {reason}")
