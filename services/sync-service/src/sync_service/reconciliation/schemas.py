"""Wire shapes of `/v1/reconcile`."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from service_kit.schemas import RequestBody, ResponseBody, UtcDatetime, UuidStr
from sync_service.routes.schemas import whole

MOST_RANGES = 1_000_000


Ranges = Annotated[int, Field(ge=1, le=MOST_RANGES, examples=[20]), BeforeValidator(whole)]
MaxRepairs = Annotated[int, Field(ge=1, le=2**31 - 1, examples=[1000]), BeforeValidator(whole)]
Count = Annotated[int, Field(examples=[1])]


class ReconcileRequest(RequestBody):
    """All fields are optional. By default all routes are compared, and nothing is written."""

    route: Annotated[str, Field(max_length=100, examples=["tweets"])] | None = None
    repair: bool = Field(default=False, description="Repair the copy. Newer rows are never overwritten.")
    sample: Ranges | None = Field(default=None, description="Compare only this number of random ranges of keys.")
    max_repairs: MaxRepairs | None = Field(
        default=None,
        description="Change nothing in a copy of which more rows would be repaired. By default 1 % of the compared "
        "rows, at least 10 and at most 1,000.",
    )


class RouteProgress(ResponseBody):
    route: str = Field(examples=["tweets"])
    done: int = Field(description="The number of source rows that are compared.", examples=[250_000])
    total: int = Field(description="The estimated number of source rows.", examples=[1_000_000])


class Example(ResponseBody):
    """A row that differs."""

    kind: Literal["missing", "extra", "different", "unfit"]
    key: list[Any] = Field(examples=[["6aa0c0f2a1b2c3d4e5f60718"]])
    fields: list[str] = Field(description="The differing fields.", examples=[["text"]])
    outcome: Literal["different", "mended", "not-mended", "unsettled"]
    reason: str | None = Field(
        description="Why the row is unfit or can't be repaired.", examples=["lang: 1406: too long"]
    )


class RouteReport(ResponseBody):
    """Numbers of rows. `missing`, `extra`, `different` and `unfit` count all differences; `mended`, repairs."""

    route: str = Field(examples=["tweets"])
    source: str = Field(examples=["mongodb tweets.tweets"])
    copy_: str = Field(alias="copy", examples=["mysql tweets.tweets_copy"])
    is_sample: bool
    rows: int = Field(description="The number of compared source rows.", examples=[1_000_000])
    missing: Count
    extra: Count
    different: Count
    unfit: Count = Field(description="Source rows that the copy can't store.")
    unsettled: Count = Field(description="Rows that were still changing when the comparison ended.")
    mended: Count
    repairs_planned: int | None = Field(
        description="The number of rows to repair, if a repair was requested. If more than `repairs_allowed`, nothing "
        "is changed.",
        examples=[12],
    )
    repairs_allowed: int | None = Field(examples=[1000])
    problem: str | None = Field(
        description="Why the route could not be compared. The others are.",
        examples=["route orders: the table tweets.orders_copy has no column total"],
    )
    is_lagging: bool = Field(description="The sync made no progress, so the result is unknown.")
    is_in_agreement: bool
    gaps_closed: Count = Field(description="Gaps in the events that put the copy in doubt until this comparison.")
    seconds: float = Field(examples=[31.2])
    rows_per_second: int = Field(examples=[32_051])
    examples: list[Example] = Field(description="At most 20 rows.")


class Reconciliation(ResponseBody):
    id: UuidStr
    state: Literal["running", "finished", "failed"]
    route: str | None = Field(examples=["tweets"])
    repair: bool
    sample: int | None = Field(examples=[20])
    max_repairs: int | None = Field(examples=[1000])
    started_at: UtcDatetime
    finished_at: UtcDatetime | None
    progress: list[RouteProgress]
    report: list[RouteReport] | None = Field(description="Null before the comparison is finished.")
    problem: str | None = Field(
        description="Why it failed, or why nothing was repaired.",
        examples=["MySQL can't be read: 2003: Can't connect to MySQL server"],
    )


class Reconciliations(ResponseBody):
    items: list[Reconciliation]
