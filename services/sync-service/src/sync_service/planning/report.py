"""Formats a plan as text and as JSON. Pure."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sync_service.planning.plan import EventsPlan, RoutePlan, RowsPlan, Sample
from sync_service.routes.json_values import jsonable

_REASONS_SHOWN = 10
_SIGNS = {"changed": "~", "added": "+", "removed": "-", "unfit": "!"}


@dataclass(frozen=True, slots=True)
class FilePlan:
    """`file` instead of the `live` file. `sources` are lines about sources that differ."""

    file: str
    live: str
    sources: Sequence[str]
    routes: Sequence[RoutePlan]

    @property
    def loses_data(self) -> bool:
        return any(route.loses_data for route in self.routes)

    @property
    def is_complete(self) -> bool:
        """Could everything be determined?"""
        return not any(route.problems for route in self.routes)


def as_json(plan: FilePlan) -> str:
    content = {
        "file": plan.file,
        "live": plan.live,
        "loses_data": plan.loses_data,
        "is_complete": plan.is_complete,
        "sources": list(plan.sources),
        "routes": [_route_json(route) for route in plan.routes],
    }
    return json.dumps(content, ensure_ascii=False)


def as_text(plan: FilePlan) -> str:
    lines = [f"{plan.file} instead of {plan.live}", *plan.sources]
    for route in plan.routes:
        lines += _route_lines(route)
    return "\n".join(lines)


def _route_json(route: RoutePlan) -> dict[str, Any]:
    return {
        "name": route.name,
        "change": route.change,
        "parts": list(route.parts),
        "source": route.source,
        "target": route.target,
        "statements": list(route.statements),
        "refused": route.refused,
        "rows": None if route.rows is None else _rows_json(route.rows),
        "events": None if route.events is None else _events_json(route.events),
        "samples": [_sample_json(sample) for sample in route.samples],
        "notes": list(route.notes),
        "problems": list(route.problems),
    }


def _rows_json(rows: RowsPlan) -> dict[str, Any]:
    names = ("read", "total", "is_complete", "changed", "added", "removed", "unchanged", "unfit", "unfit_already")
    reasons = [{"reason": reason, "rows": number} for reason, number in rows.reasons.most_common()]
    return {**{name: getattr(rows, name) for name in names}, "reasons": reasons}


def _events_json(events: EventsPlan) -> dict[str, Any]:
    names = ("read", "total", "dead_letters", "dead_letters_already")
    reasons = [
        {"reason": reason, "events": number, "example": events.examples[reason]}
        for reason, number in events.reasons.most_common()
    ]
    return {**{name: getattr(events, name) for name in names}, "reasons": reasons}


def _sample_json(sample: Sample) -> dict[str, Any]:
    return {
        "kind": sample.kind,
        "key": _plain(sample.key),
        "before": _plain(sample.before),
        "after": _plain(sample.after),
        "fields": list(sample.fields),
        "reason": sample.reason,
    }


def _route_lines(route: RoutePlan) -> Iterator[str]:
    what = f" ({', '.join(route.parts)})" if route.parts else ""
    yield f"{route.name}: {route.change}{what}"
    if route.change == "unchanged":
        return
    yield f"  {route.source} -> {route.target}"
    for note in route.notes:
        yield f"  note: {note}"
    if route.refused is not None:
        yield f"  refused: {route.refused}"
    for statement in route.statements:
        yield from (f"  {line}" for line in f"{statement};".splitlines())
    if route.rows is not None:
        yield from _rows_lines(route.rows)
    if route.events is not None:
        yield from _events_lines(route.events)
    for sample in route.samples:
        yield from _sample_lines(sample)
    for problem in route.problems:
        yield f"  unknown: {problem}"


def _rows_lines(rows: RowsPlan) -> Iterator[str]:
    about = "" if rows.is_complete else "about "
    counts = [f"{getattr(rows, name):,} {name}" for name in ("changed", "added", "removed", "unchanged", "unfit")]
    if rows.unfit_already:
        counts.append(f"{rows.unfit_already:,} unfit already")
    yield f"  {rows.read:,} of {about}{rows.total:,} rows read: {', '.join(counts)}"
    yield from _reason_lines(rows.reasons.most_common())


def _events_lines(events: EventsPlan) -> Iterator[str]:
    already = f", and {events.dead_letters_already:,} are now, too" if events.dead_letters_already else ""
    yield (
        f"  {events.read:,} of {events.total:,} retained events read: "
        f"{events.dead_letters:,} would become dead letters{already}"
    )
    yield from _reason_lines(
        [(f"{reason} (such as {events.examples[reason]})", n) for reason, n in events.reasons.most_common()]
    )


def _reason_lines(reasons: Sequence[tuple[str, int]]) -> Iterator[str]:
    for reason, number in reasons[:_REASONS_SHOWN]:
        yield f"    {number:,} x {reason}"
    if (others := len(reasons) - _REASONS_SHOWN) > 0:
        yield f"    and {others:,} more reasons"


def _sample_lines(sample: Sample) -> Iterator[str]:
    reason = f": {sample.reason}" if sample.reason else ""
    yield f"  {_SIGNS[sample.kind]} {sample.kind} {_json(sample.key)}{reason}"
    before, after = sample.before or {}, sample.after or {}
    if sample.kind == "changed":
        for name in sample.fields:
            old, new = _value(before, name), _value(after, name)
            # Such as a decimal, which JSON does not have, instead of a text.
            kind = type(after.get(name))
            types = f" (another type: {kind.__name__})" if old == new and kind is not type(before.get(name)) else ""
            yield f"      {name}: {old} -> {new}{types}"
        return
    if sample.before is not None:
        yield f"      before  {_json(before)}"
    if sample.after is not None:
        yield f"      after   {_json(after)}"


def _value(values: Mapping[str, Any], name: str) -> str:
    return _json(values[name]) if name in values else "none"


def _json(value: Any) -> str:
    return json.dumps(_plain(value), ensure_ascii=False)


def _plain(value: Any) -> Any:
    """As JSON. A value that JSON does not have, such as NaN, is shown as text."""
    try:
        return jsonable(dict(value) if isinstance(value, Mapping) else value)
    except ValueError:
        return str(value)
