"""Schemas of administration."""

from pydantic import Field

from auth_service.passwords.schemas import CurrentPassword
from auth_service.users.schemas import DisplayName
from service_kit.roles import Role
from service_kit.schemas import RequestBody


class UserChange(RequestBody):
    """Absent fields do not change."""

    name: DisplayName | None = None
    role: Role | None = Field(default=None, strict=False)
    is_active: bool | None = None
    current_password: CurrentPassword = Field(
        default=None, description="Yours. Needed for another `role` or another `is_active`."
    )
