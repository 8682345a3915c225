"""Wire shapes of confirming an address."""

from typing import Annotated

from pydantic import Field, StringConstraints

from auth_service.one_time_tokens import MAX_TOKEN_LENGTH
from service_kit.schemas import RequestBody

MailedToken = Annotated[
    str,
    StringConstraints(min_length=1, max_length=MAX_TOKEN_LENGTH),
    Field(description="From the mail.", examples=["n3B0qX7yW1f8zqk5s2o3mQy2m1XxVw9uG6v4bT0cR5I"]),
]


class EmailConfirmation(RequestBody):
    token: MailedToken
