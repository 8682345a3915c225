"""Documents of the collections `users_copy`, which sync-service writes, and `imported_profiles`."""

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field

from service_kit.authentication import accepts_token


class Profile(BaseModel):
    """The fields of a copied user that this service uses. Times are UTC with milliseconds."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: str = Field(validation_alias="_id")
    username: str
    name: str
    is_active: bool = True
    created_at: datetime | None = None
    tokens_valid_after: datetime | None = None

    def accepts_token_of(self, issued_at: float) -> bool:
        return accepts_token(issued_at, is_active=self.is_active, tokens_valid_after=self.tokens_valid_after)


class Tombstone(BaseModel):
    """A deleted user in the copy, kept for ever. The id is never reused."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: str = Field(validation_alias="_id")

    def accepts_token_of(self, issued_at: float) -> bool:  # noqa: ARG002 - the signature of Profile
        return False
