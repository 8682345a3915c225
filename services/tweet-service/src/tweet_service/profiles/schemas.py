"""The author of a tweet in responses."""

from pydantic import Field

from service_kit.schemas import ResponseBody


class Author(ResponseBody):
    """The author of a tweet. The names are null until the user has arrived in the copy."""

    id: str = Field(examples=["019a20ae-ba0e-79f0-8b83-c5bb8662bc58"])
    username: str | None = Field(examples=["ada"])
    name: str | None = Field(examples=["Ada Lovelace"])
