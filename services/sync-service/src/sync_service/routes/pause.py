"""Pauses routes, for the HTTP API and for the command, and waits until no process applies their events any more."""

import asyncio
import time
from collections.abc import Collection, Sequence

import structlog
from aiokafka.errors import KafkaError
from sqlalchemy.ext.asyncio import AsyncEngine

from service_kit.kafka import KafkaClients
from sync_service.kafka.members import members_of
from sync_service.kafka.pauses import processes
from sync_service.kafka.stops import Stop, Stops
from sync_service.routes.config import Route
from sync_service.routes.problems import PauseNotConfirmed

log = structlog.get_logger(__name__)

# A process reads the stops every two seconds, and ends its writes in a few more. One that was killed counts as gone
# after ten seconds, and for Kafka after the time of a session.
PAUSE_SECONDS = 30
_MARGIN_SECONDS = 15
POLL_SECONDS = 0.1


def pause_seconds(session_timeout_ms: int) -> float:
    """The longest time to wait for a pause, so that the session of a process that was killed ends before."""
    return max(PAUSE_SECONDS, session_timeout_ms / 1000 + _MARGIN_SECONDS)


class RoutePauser:
    """`stops` and `engine` must be those of the running service's MySQL schema, `group_id` its consumer group."""

    def __init__(
        self,
        kafka: KafkaClients,
        group_id: str,
        stops: Stops,
        engine: AsyncEngine,
        *,
        seconds: float = PAUSE_SECONDS,
    ) -> None:
        """`seconds` is the longest time to wait by default."""
        self._seconds = seconds
        self._kafka = kafka
        self._group_id = group_id
        self._stops = stops
        self._engine = engine

    async def pause(self, routes: Sequence[Route], *, by: str, seconds: float | None = None) -> None:
        """Pause routes, and wait until that holds: no process applies an event of them before a resume.

        Raises `PauseNotConfirmed` after `seconds`: the routes are paused, but a process may still have events in work.
        Raises `Unavailable`.
        """
        seconds = self._seconds if seconds is None else seconds
        deadline = time.monotonic() + seconds
        pauses = [await self._stops.pause(route.topic, by) for route in routes]
        names = ", ".join(route.name for route in routes)
        while (reason := await self.unconfirmed_reason(pauses)) is not None:
            if time.monotonic() >= deadline:
                raise PauseNotConfirmed(
                    f"Paused, but it is not certain after {seconds:g} s that no more events are applied: {names}: "
                    f"{reason}. Pause again to see whether it holds."
                )
            await asyncio.sleep(POLL_SECONDS)
        log.info("routes paused", routes=names, by=by, notable=True)

    async def unconfirmed_reason(self, pauses: Collection[Stop]) -> str | None:
        """Why a process may still apply events; None if none does. Raises `Unavailable`."""
        living = [await processes(self._engine, pause) for pause in pauses]
        if waiting := dict.fromkeys(each.name for found in living for each in found if not each.holds):
            latest = {each.name: each for found in living for each in found}
            return f"no confirmation from {', '.join(str(latest[name]) for name in waiting)}"
        try:
            members = await members_of(self._kafka, self._group_id)
        except (KafkaError, OSError, TimeoutError) as error:
            return await self._kafka.explain(error)
        # Those of an earlier release, and those that have lost MySQL, are not registered.
        confirmed = [{each.member_id for each in found} for found in living]
        known = confirmed[0].intersection(*confirmed) if confirmed else set()
        if others := sorted(members[each] for each in members.keys() - known):
            return f"the consumer group {self._group_id} has members that have not confirmed it: {', '.join(others)}"
        return None
