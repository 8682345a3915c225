"""The components of the stack, each after those that it depends on."""

from embedded_stack.components.base import Component, Environment
from embedded_stack.components.connect import Connect
from embedded_stack.components.gateway import Gateway
from embedded_stack.components.kafka import Kafka
from embedded_stack.components.mail import Mail
from embedded_stack.components.mongo import Mongo
from embedded_stack.components.mysql import MySQL
from embedded_stack.components.services import AuthService, Registrar, SyncService, TweetService

COMPONENTS: tuple[type[Component], ...] = (
    MySQL,
    Mongo,
    Kafka,
    Mail,
    Connect,
    Registrar,
    SyncService,
    AuthService,
    TweetService,
    Gateway,
)

__all__ = ["COMPONENTS", "Component", "Environment"]
