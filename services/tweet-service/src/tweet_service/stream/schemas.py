"""Wire shapes of the stream, beside the tweet itself."""

from pydantic import Field

from service_kit.wire import ResponseBody


class DeletedTweet(ResponseBody):
    id: str = Field(examples=["6924ea2f0c9d3a5b7e1f4a68"])


class End(ResponseBody):
    """Why the stream ends before its time."""

    code: str = Field(examples=["too-slow"])
    title: str = Field(examples=["The client reads more slowly than tweets come in."])
