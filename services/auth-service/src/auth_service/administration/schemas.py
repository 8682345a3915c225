"""Wire shapes of administration."""

from pydantic import Field

from auth_service.accounts.models import Role
from auth_service.accounts.schemas import DisplayName
from service_kit.schemas import RequestBody


class UserChange(RequestBody):
    """What is absent stays as it is."""

    name: DisplayName | None = None
    role: Role | None = Field(default=None, strict=False)
    is_active: bool | None = None
