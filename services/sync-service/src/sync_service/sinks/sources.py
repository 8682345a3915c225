"""The sources of change events: one class for each store's connector."""

from collections.abc import Mapping

from sync_service.debezium.source import Source
from sync_service.sinks.mongodb.source import MongodbSource
from sync_service.sinks.mysql.source import MysqlSource

# What a `source` block is read as; its field `connector` says which of them it is.
AnySource = MysqlSource | MongodbSource

SOURCES: Mapping[str, type[Source]] = {str(kind.__struct_config__.tag): kind for kind in (MysqlSource, MongodbSource)}
