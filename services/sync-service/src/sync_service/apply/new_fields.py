"""Notices columns or fields that a source gets while its events are applied."""

from collections.abc import Mapping, Sequence
from typing import Any

import structlog

from sync_service.routes.config import Route
from sync_service.statistics import RouteStatistics

log = structlog.get_logger(__name__)

# Rows whose fields count as known, besides those that the route names, where rows may lack fields.
_LEARNED_ROWS = 1000
# A source with names of its users' making, such as {"votes": {"ada": 1}} one level higher, has more and more of them.
MOST_NEW_FIELDS = 100


class NewFields:
    """The fields that none of the first rows had, and the route does not name. A name counts once for each process."""

    def __init__(self, route: Route, statistics: RouteStatistics) -> None:
        self._route = route
        self._statistics = statistics
        paths = (*route.read_paths.values(), *route.dropped)
        self._known: set[str] = {path[0] for path in paths}
        self._rows_to_learn = 1 if route.target.source_rows_are_complete else _LEARNED_ROWS

    def see(self, row: Mapping[str, Any]) -> None:
        """Report new fields of a row: in the log, in a metric and on `/v1/status`."""
        if self._rows_to_learn:
            self._rows_to_learn -= 1
            self._known |= row.keys()
            return
        left = MOST_NEW_FIELDS - len(self._statistics.new_fields)
        if left and not row.keys() <= self._known:
            self._report(sorted(row.keys() - self._known)[:left])

    def _report(self, names: Sequence[str]) -> None:
        self._known.update(names)
        for name in names:
            self._statistics.note_new_field(name)
            log.warning(
                "the source has a new field, which is not copied", route=self._route.name, field=name, notable=True
            )
