"""Wire shapes of `/v1/counts`."""

from pydantic import Field

from service_kit.schemas import ResponseBody, UtcDatetime
from sync_service.sinks.counting import Exactness
from sync_service.sinks.targets import Store


class Side(ResponseBody):
    """Rows of a table, or documents of a collection."""

    store: Store
    name: str = Field(examples=["auth.users"])
    rows: int | None = Field(examples=[1_000_000])
    exactness: Exactness = Field(
        description="exact: counted. estimate: counting took longer than 2 s, so it is what the store knows of its "
        "size, in which tombstones are rows. unknown: see the reason."
    )
    reason: str | None = Field(description="Why it is unknown.", examples=[None])


class RouteCounts(ResponseBody):
    """`source` is null if the topic's name does not end in what its source is called."""

    route: str = Field(examples=["users"])
    source: Side | None
    copy_: Side = Field(alias="copy", description="Its live rows, without tombstones.")
    difference: int | None = Field(
        description="Source less copy; null unless both are exact. While people write, what is on its way is in it.",
        examples=[0],
    )


class RowCounts(ResponseBody):
    counted_at: UtcDatetime
    seconds: float = Field(description="How long the counting took.", examples=[0.03])
    routes: list[RouteCounts]
