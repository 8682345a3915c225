"""Documents of the collections `users_copy`, which sync-service writes, and `imported_profiles`."""

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field

from service_kit.authentication import accepts_token
from service_kit.tokens import AccessToken


class Profile(BaseModel):
    """The fields of a copied user that this service uses. Times are UTC with milliseconds."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: str = Field(validation_alias="_id")
    username: str
    name: str
    is_active: bool = True
    created_at: datetime | None = None
    tokens_valid_after: datetime | None = None
    ended_sessions: str | None = None

    def accepts(self, token: AccessToken) -> bool:
        return accepts_token(
            token,
            is_active=self.is_active,
            tokens_valid_after=self.tokens_valid_after,
            ended_sessions=self.ended_sessions,
        )


class Tombstone(BaseModel):
    """A deleted user in the copy, kept for ever. The id is never reused."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: str = Field(validation_alias="_id")

    def accepts(self, token: AccessToken) -> bool:  # noqa: ARG002 - the signature of Profile
        return False
