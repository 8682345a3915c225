"""Wire shapes of sessions."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from auth_service.accounts.schemas import UserProfile
from auth_service.passwords import MAX_LENGTH
from service_kit.wire import RequestBody, ResponseBody

RefreshTokenText = Annotated[str, StringConstraints(min_length=1, max_length=100)]


class Login(RequestBody):
    login: Annotated[str, StringConstraints(min_length=1, max_length=254)] = Field(
        description="Username or email.", examples=["ada"]
    )
    password: Annotated[str, StringConstraints(min_length=1, max_length=MAX_LENGTH)] = Field(
        examples=["correct horse battery staple"]
    )
    remember_me: bool = False


class Refresh(RequestBody):
    refresh_token: RefreshTokenText


class Tokens(ResponseBody):
    """RFC 6749 §5.1; `expires_in` is seconds until the access token expires."""

    access_token: str
    refresh_token: str
    token_type: Literal["bearer"] = "bearer"  # noqa: S105 - RFC 6750's name of the scheme
    expires_in: int = Field(examples=[900])


class Registered(Tokens):
    user: UserProfile
