"""Wire shapes of people."""

from pydantic import Field

from service_kit.wire import ResponseBody


class Author(ResponseBody):
    """Who wrote a tweet. The names are null until the copy of the person has arrived."""

    id: str = Field(examples=["019a20ae-ba0e-79f0-8b83-c5bb8662bc58"])
    username: str | None = Field(examples=["ada"])
    name: str | None = Field(examples=["Ada Lovelace"])
