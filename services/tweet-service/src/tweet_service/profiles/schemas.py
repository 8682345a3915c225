"""Wire shapes of people."""

from pydantic import Field

from service_kit.schemas import ResponseBody, UtcDatetime


class Author(ResponseBody):
    """Who wrote a tweet. The names are null until the copy of the person has arrived."""

    id: str = Field(examples=["019a20ae-ba0e-79f0-8b83-c5bb8662bc58"])
    username: str | None = Field(examples=["ada"])
    name: str | None = Field(examples=["Ada Lovelace"])


class ProfileCounts(ResponseBody):
    tweets: int = Field(examples=[42])
    followers: int = Field(examples=[7])
    following: int = Field(examples=[3])


class UserProfile(ResponseBody):
    """Somebody as everybody may see him. `is_imported` is true of people of a dataset, who have no account."""

    id: str = Field(examples=["019a20ae-ba0e-79f0-8b83-c5bb8662bc58"])
    username: str = Field(examples=["ada"])
    name: str = Field(examples=["Ada Lovelace"])
    created_at: UtcDatetime | None = Field(examples=["2026-01-31T12:00:00.000000Z"])
    is_imported: bool = Field(examples=[False])
    counts: ProfileCounts
    is_followed: bool | None = Field(description="By whoever asks; null if nobody says who he is.", examples=[None])
