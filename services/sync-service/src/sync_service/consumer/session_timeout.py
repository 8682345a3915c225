"""What is wrong with a session timeout that the broker refuses."""

from collections.abc import Mapping

from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError

from service_kit.kafka import KafkaClients

_LIMITS = ("group.min.session.timeout.ms", "group.max.session.timeout.ms")
_ANSWER_MS = 3000


async def refused_session_timeout(kafka: KafkaClients, value_ms: int) -> str:
    """In one sentence, which names the setting, and the broker's limits if this user may ask for them."""
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
