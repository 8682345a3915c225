"""Problems of the consumer group: requests that the broker refuses, and members that are no sync-service."""

from collections.abc import Mapping

from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import (
    GroupIdNotFound,
    InconsistentGroupProtocolError,
    InvalidGroupIdError,
    InvalidSessionTimeoutError,
    KafkaError,
)

from service_kit.kafka import KafkaClients
from sync_service.settings import Settings

_LIMITS = ("group.min.session.timeout.ms", "group.max.session.timeout.ms")
_ANSWER_MS = 3000
CLIENT_ID = "sync-service"
_OWN_GROUP = "give the sync a group of its own (SYNC_GROUP_ID)"


async def explain_refusal(kafka: KafkaClients, settings: Settings, error: BaseException) -> str | None:
    """Why the broker refuses a request about the group, in one sentence; None for other errors."""
    match error:
        case InvalidSessionTimeoutError():
            return await refused_session_timeout(kafka, settings.sync_session_timeout_ms)
        case InconsistentGroupProtocolError():
            return (
                f"the group SYNC_GROUP_ID={settings.sync_group_id} is in use by members of another kind, "
                f"which do not share topics as the sync does; {_OWN_GROUP}"
            )
        case InvalidGroupIdError():
            return f"the broker refuses SYNC_GROUP_ID={settings.sync_group_id!r}"
    return None


class ForeignMembers:
    """Detects clients in the group of the sync that take its events and apply none."""

    def __init__(self, kafka: KafkaClients, group_id: str) -> None:
        self._kafka = kafka
        self._group_id = group_id
        # The broker did not know the group although this process was in it.
        self.suspects_some = False

    async def problem(self, generation: int) -> str | None:
        """One sentence about foreign members; None if there are none, or if the broker does not answer.

        `generation` is this member's; below 1 it is in no group. The request does not find groups of the protocol of
        KIP-848, and a group with members of both protocols is such a group. It does not find groups without members
        either, and this process may have been removed from the group without noticing. So only two such answers in a
        row count.
        """
        try:
            async with self._kafka.started(self._kafka.admin(request_timeout_ms=_ANSWER_MS)) as admin:
                (answer,) = await admin.describe_consumer_groups([self._group_id])
        except (KafkaError, OSError, TimeoutError):
            return None
        ((error_code, _group, state, _protocol_type, _protocol, members, *_),) = answer.groups
        is_unknown = state == "Dead" or error_code == GroupIdNotFound.errno
        suspected, self.suspects_some = self.suspects_some, is_unknown and generation > 0
        if self.suspects_some:
            return (
                f"the group SYNC_GROUP_ID={self._group_id} has members of the consumer group protocol of KIP-848, "
                f"which take events away from the sync; {_OWN_GROUP}"
                if suspected
                else None
            )
        foreign = sorted({f"{client} at {host.strip('/')}" for _, client, host, *_ in members if client != CLIENT_ID})
        if not foreign:
            return None
        return (
            f"the group SYNC_GROUP_ID={self._group_id} has members that are no sync-service ({', '.join(foreign)}), "
            f"which take events away from the sync; {_OWN_GROUP}"
        )


async def refused_session_timeout(kafka: KafkaClients, value_ms: int) -> str:
    """One sentence that names the setting, and the broker's limits if this user may read them."""
    sentence = f"the broker refuses SYNC_SESSION_TIMEOUT_MS={value_ms}"
    try:
        limits = await _limits(kafka)
    except (KafkaError, OSError, TimeoutError):
        limits = {}
    if any(name not in limits for name in _LIMITS):
        return f"{sentence}; its limits are its settings {_LIMITS[0]} and {_LIMITS[1]}"
    least, most = (limits[name] for name in _LIMITS)
    return f"{sentence}; it must be from {least} ({_LIMITS[0]}) to {most} ({_LIMITS[1]})"


async def _limits(kafka: KafkaClients) -> Mapping[str, str]:
    async with kafka.started(kafka.admin(request_timeout_ms=_ANSWER_MS)) as admin:
        cluster = await admin.describe_cluster()
        broker = cluster["brokers"][0]["node_id"]
        answers = await admin.describe_configs(
            [ConfigResource(ConfigResourceType.BROKER, str(broker), configs=dict.fromkeys(_LIMITS))]
        )
    return {
        name: value
        for answer in answers
        for _code, _message, _kind, _name, entries, *_ in answer.resources
        for name, value, *_ in entries
        if value is not None
    }
