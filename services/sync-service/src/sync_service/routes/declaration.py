"""What all declarations of `routes.yaml` share."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,58}$")]


class Declaration(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
