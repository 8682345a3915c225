"""The database of a copy in MongoDB."""

from typing import TYPE_CHECKING, Any

from pymongo.uri_parser import parse_uri

from sync_service.routes.config import Route

if TYPE_CHECKING:
    # motor's classes are generic for the type checker only.
    from motor.motor_asyncio import AsyncIOMotorClient, AsyncIOMotorDatabase

    Client = AsyncIOMotorClient[dict[str, Any]]
    Database = AsyncIOMotorDatabase[dict[str, Any]]


def database_of_address(address: str) -> str | None:
    name: str | None = parse_uri(address)["database"]
    return name


def copy_database(client: "Client", route: Route) -> "Database":
    """The database that the route names, or that of the client's address."""
    name = route.target.database
    return client.get_default_database() if name is None else client[name]
