"""Documents of the collections `users_copy`, which sync-service writes, and `imported_profiles`."""

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field


class Profile(BaseModel):
    """The part of a copied user that is of use here. Times are UTC, to the millisecond."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: str = Field(validation_alias="_id")
    username: str
    name: str
    is_active: bool = True
    created_at: datetime | None = None
    tokens_valid_after: datetime | None = None

    def accepts_token_of(self, issued_at: float) -> bool:
        """May a token issued at this moment (seconds since the epoch) be used?"""
        if not self.is_active:
            return False
        return self.tokens_valid_after is None or issued_at >= self.tokens_valid_after.timestamp()


class Tombstone(BaseModel):
    """What the copy has of a deleted user, for good. Nobody gets the id again."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: str = Field(validation_alias="_id")

    def accepts_token_of(self, issued_at: float) -> bool:  # noqa: ARG002 - as a profile is asked
        return False
