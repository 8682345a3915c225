"""The targets that a route can have: one class for each store."""

from typing import Annotated, Literal

from pydantic import Field

from sync_service.sinks.mongodb.target import MongodbTarget
from sync_service.sinks.mysql.target import MysqlTarget

Store = Literal["mongodb", "mysql"]

# The field `store` of a declaration says which of them it is.
AnyTarget = Annotated[MongodbTarget | MysqlTarget, Field(discriminator="store")]


def opposite_target(source: Store, database: str, name: str) -> MongodbTarget | MysqlTarget:
    """The target of a copy in the other store. Raises `pydantic.ValidationError` for names that it can't have."""
    if source == "mysql":
        return MongodbTarget(store="mongodb", database=database, collection=name)
    return MysqlTarget(store="mysql", database=database, table=name)
