"""Kafka's request IncrementalAlterConfigs, version 0 (KIP-339, brokers since 2.3), which aiokafka lacks.

aiokafka's `alter_configs` resets all other settings of a topic to their defaults.
"""

from collections.abc import Mapping

from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import Array, Boolean, Int8, Int16, Int32, Schema, String

TOPIC = 2
_SET = 0


class _AlterResponse(Response):  # type: ignore[misc]  # published without type information
    API_KEY = 44
    API_VERSION = 0
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "resources",
            Array(
                ("error_code", Int16),
                ("error_message", String("utf-8")),
                ("resource_type", Int8),
                ("resource_name", String("utf-8")),
            ),
        ),
    )


class _AlterRequest(RequestStruct):  # type: ignore[misc]  # published without type information
    API_KEY = 44
    API_VERSION = 0
    RESPONSE_TYPE = _AlterResponse
    SCHEMA = Schema(
        (
            "resources",
            Array(
                ("resource_type", Int8),
                ("resource_name", String("utf-8")),
                (
                    "configs",
                    Array(("name", String("utf-8")), ("operation", Int8), ("value", String("utf-8"))),
                ),
            ),
        ),
        ("validate_only", Boolean),
    )


class SetTopicConfigs(Request[_AlterRequest]):  # type: ignore[misc]  # published without type information
    """Sets the given settings of each topic and keeps its other ones.

    The answer has `resources`: error code, message, type and name of each topic.
    """

    API_KEY = 44

    def __init__(self, changes: Mapping[str, Mapping[str, str]]) -> None:
        self._resources = [
            (TOPIC, topic, [(name, _SET, value) for name, value in settings.items()])
            for topic, settings in changes.items()
        ]

    def build(self, request_struct_class: type[_AlterRequest]) -> _AlterRequest:
        return request_struct_class(self._resources, False)
