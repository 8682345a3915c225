"""Users in responses."""

from pydantic import Field

from service_kit.schemas import ResponseBody, UtcDatetime


class ProfileCounts(ResponseBody):
    """Exact below 1000. A larger one may be 30 seconds old; under load, older, or 1000 if it is not known yet."""

    tweets: int = Field(examples=[42])
    followers: int = Field(examples=[7])
    following: int = Field(examples=[3])


class UserProfile(ResponseBody):
    """The public profile of a user. `is_imported` is true for authors of an imported dataset, who have no account."""

    id: str = Field(examples=["019a20ae-ba0e-79f0-8b83-c5bb8662bc58"])
    username: str = Field(examples=["ada"])
    name: str = Field(examples=["Ada Lovelace"])
    created_at: UtcDatetime | None = Field(examples=["2026-01-31T12:00:00.000000Z"])
    is_imported: bool = Field(examples=[False])
    counts: ProfileCounts
    is_followed: bool | None = Field(
        description="Whether the caller follows the user; null without a token.", examples=[None]
    )
