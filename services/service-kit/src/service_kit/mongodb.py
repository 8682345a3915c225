"""The address of a MongoDB database as a setting. Needs the `mongodb` extra."""

from typing import Annotated

from pydantic import AfterValidator, SecretStr
from pymongo.errors import PyMongoError
from pymongo.uri_parser import parse_uri


def _check(address: SecretStr) -> SecretStr:
    try:
        database = parse_uri(address.get_secret_value())["database"]
    except (PyMongoError, ValueError) as error:
        raise ValueError(f"not a MongoDB address: {error}") from error
    if not database:
        raise ValueError("the address has no database; write mongodb://host:port/DATABASE")
    return address


# The type of a setting: `mongodb://user:password@host:port/database?options`.
MongodbAddress = Annotated[SecretStr, AfterValidator(_check)]
