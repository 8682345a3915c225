"""The targets that a route can have: one class for each store."""

from typing import Annotated, Literal

from pydantic import Field

from sync_service.sinks.mongodb.target import MongodbTarget
from sync_service.sinks.mysql.target import MysqlTarget

Store = Literal["mongodb", "mysql"]

# The field `store` of a declaration says which of them it is.
AnyTarget = Annotated[MongodbTarget | MysqlTarget, Field(discriminator="store")]
