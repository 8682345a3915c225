"""Wire shapes of `/v1/counts`."""

from pydantic import Field

from service_kit.schemas import ResponseBody, UtcDatetime
from sync_service.sinks.counting import Exactness
from sync_service.sinks.targets import Store


class Side(ResponseBody):
    """The number of rows of a table, or of documents of a collection."""

    store: Store
    name: str = Field(examples=["auth.users"])
    rows: int | None = Field(examples=[1_000_000])
    exactness: Exactness = Field(
        description="exact: counted. estimate: counting took longer than 2 s, so this is the store's estimate, which "
        "includes tombstones. unknown: see the reason."
    )
    reason: str | None = Field(description="Why it is unknown.", examples=[None])


class RouteCounts(ResponseBody):
    """`source` is null if the name of the topic does not end with the name of its source."""

    route: str = Field(examples=["users"])
    source: Side | None
    copy_: Side = Field(alias="copy", description="The live rows, without tombstones.")
    difference: int | None = Field(
        description="Source minus copy; null unless both are exact, and if the route has a `where`. It includes events "
        "that are not applied yet.",
        examples=[0],
    )


class RowCounts(ResponseBody):
    counted_at: UtcDatetime
    seconds: float = Field(description="The time that counting took.", examples=[0.03])
    routes: list[RouteCounts]
