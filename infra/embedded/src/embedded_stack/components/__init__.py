"""The components of the stack, each after those that it depends on."""

from embedded_stack.components.base import Component, Environment
from embedded_stack.components.connect import Connect
from embedded_stack.components.gateway import Gateway
from embedded_stack.components.kafka import Kafka
from embedded_stack.components.mail import Mail
from embedded_stack.components.mongo import Mongo
from embedded_stack.components.mysql import MySQL
from embedded_stack.components.mysql_pair import MySQLAddress, MySQLMember
from embedded_stack.components.services import AuthService, Registrar, SyncService, TweetService

_SERVICES: tuple[type[Component], ...] = (Registrar, SyncService, AuthService, TweetService, Gateway)


def components_of(environment: Environment) -> list[Component]:
    """The components of the topology, or those of the sync only."""
    topology = environment.topology
    if environment.configuration.is_sync_only:
        return _sync_only(environment)
    return [
        *_mysql(environment),
        *Mongo.cluster(environment, topology.mongo),
        *Kafka.cluster(environment, topology.kafka),
        Mail(environment),
        *Connect.cluster(environment, topology.connect),
        *(service(environment) for service in _SERVICES),
    ]


def _sync_only(environment: Environment) -> list[Component]:
    classes: tuple[type[Component], ...] = (Kafka, Connect, Registrar, SyncService, Gateway)
    components = [each(environment) for each in classes]
    names = {each.name for each in components}
    for each in components:
        each.depends_on = tuple(name for name in each.depends_on if name in names)
    return components


def _mysql(environment: Environment) -> list[Component]:
    if environment.topology.mysql == 1:
        return [MySQL(environment)]
    members = MySQLMember(environment, 1), MySQLMember(environment, 2)
    return [*members, MySQLAddress(environment, members)]


__all__ = ["Component", "Environment", "components_of"]
