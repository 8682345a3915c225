"""Data of the stream's events, besides the tweet itself."""

from pydantic import Field

from service_kit.schemas import ResponseBody


class DeletedTweet(ResponseBody):
    id: str = Field(examples=["6924ea2f0c9d3a5b7e1f4a68"])
