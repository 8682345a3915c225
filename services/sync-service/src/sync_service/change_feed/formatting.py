"""Formats a change event as text. Pure."""

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from service_kit.times import rfc3339
from sync_service.change_feed.event_view import EventView
from sync_service.debezium.envelope import OPERATION_LABELS

# ECMA-48 SGR
_BOLD, _RED, _GREEN, _YELLOW, _RESET = "\033[1m", "\033[31m", "\033[32m", "\033[33m", "\033[0m"
_COLOURS = {"create": _GREEN, "update": _YELLOW, "delete": _RED, "+": _GREEN, "~": _YELLOW, "-": _RED}
_ABSENT = object()


def as_text(view: EventView, *, in_colour: bool = False) -> str:
    """A headline, one line each for key, before, after and source, and one for each changed field."""

    def painted(text: str, sort: str | None) -> str:
        return f"{_COLOURS[sort]}{text}{_RESET}" if in_colour and sort in _COLOURS else text

    fields = view.fields
    place = f"{fields['topic']}-{fields['partition']}@{fields['offset']}"
    if "route" in fields:
        place += f"  route {fields['route']}"
    if "resolution" in fields:
        resolution = fields["resolution"]
        return f"{place}  dead letter {resolution['letter']}: {resolution['result']} by {resolution['by']}\n"
    if "dead_letter" in fields:
        place += f"  dead letter: {fields['dead_letter']}"
    if view.operation is None:
        return f"{place}  not a change event: {fields['error']}\n"
    headline = painted(OPERATION_LABELS[view.operation], view.operation)
    lines = [f"{_moment(fields['ts_ms'])}  {headline}  {f'{_BOLD}{place}{_RESET}' if in_colour else place}"]
    lines.append(f"  key     {_json(fields['key'])}")
    before = "unknown: the source's log does not contain it" if view.is_without_before else _json(fields["before"])
    lines.append(f"  before  {before}")
    lines.append(f"  after   {_json(fields['after'])}")
    lines += [f"    {painted(line, line[0])}" for line in changed_fields(fields["before"], fields["after"])]
    lines.append(f"  source  {_json(fields['source'])}")
    return "\n".join(lines) + "\n"


def changed_fields(before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> Iterator[str]:
    """One line for each changed (`~`), new (`+`) and removed (`-`) field; none unless both rows are known."""
    if before is None or after is None:
        return
    for name in (*before, *(name for name in after if name not in before)):
        old, new = before.get(name, _ABSENT), after.get(name, _ABSENT)
        if old is _ABSENT:
            yield f"+ {name}: {_json(new)}"
        elif new is _ABSENT:
            yield f"- {name}: {_json(old)}"
        elif _json(old) != _json(new):
            yield f"~ {name}: {_json(old)} → {_json(new)}"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _moment(ts_ms: int | None) -> str:
    """Milliseconds since the Unix epoch as RFC 3339; outside of the calendar, the number."""
    try:
        return "" if ts_ms is None else rfc3339(datetime.fromtimestamp(ts_ms / 1000, UTC))
    except (ValueError, OverflowError):
        return str(ts_ms)
