"""What all declarations of `routes.yaml` share."""

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,58}$")]

_LONGEST_TOPIC = 249
_NOT_IN_TOPICS = re.compile(r"[^a-zA-Z0-9._-]")


def _legal_topic(name: str) -> str:
    """The rules of Kafka's `org.apache.kafka.common.internals.Topic`."""
    if _NOT_IN_TOPICS.search(name):
        raise ValueError(
            "the name of a topic has only the characters a-z, A-Z, 0-9, . _ and -; Debezium writes _ for each other "
            f"character: {_NOT_IN_TOPICS.sub('_', name)}"
        )
    if name in ("", ".", ".."):
        raise ValueError(f"{name!r} can't be the name of a topic")
    if len(name) > _LONGEST_TOPIC:
        raise ValueError(f"the name of a topic has at most {_LONGEST_TOPIC} characters, and this one has {len(name)}")
    return name


TopicName = Annotated[str, AfterValidator(_legal_topic)]


class Declaration(BaseModel):
    # An expression is parsed to a class that pydantic does not know.
    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)
