"""Schemas of one-time tokens."""

from typing import Annotated

from pydantic import Field, StringConstraints

MailedToken = Annotated[
    str,
    StringConstraints(min_length=1, max_length=100),
    Field(description="The token from the mail.", examples=["n3B0qX7yW1f8zqk5s2o3mQy2m1XxVw9uG6v4bT0cR5I"]),
]
