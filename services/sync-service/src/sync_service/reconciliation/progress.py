"""Reports the progress of a comparison: a bar on a terminal, lines in other outputs, JSON lines for programs."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, TextIO

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

_LINE_SECONDS = 10.0
_JSON_SECONDS = 0.5


class ProgressReporter(Protocol):
    def __call__(self, route: str, done: int, total: int) -> None:
        """`done` rows of an estimated `total` are compared."""

    def repairs(self, route: str, planned: int, allowed: int) -> None:
        """This many rows are to be repaired, and at most so many are allowed. None is repaired yet."""

    def note(self, route: str, text: str) -> None:
        """What the user should know meanwhile."""


@contextmanager
def reporting_progress(out: TextIO, *, as_json: bool, verb: str = "compared") -> Iterator[ProgressReporter]:
    """`verb` says what is done with the rows."""
    if out.isatty() and not as_json:
        with _bar(out) as show:
            yield show
    else:
        yield _Lines(out, as_json=as_json, verb=verb)


@contextmanager
def _bar(out: TextIO) -> Iterator[ProgressReporter]:
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeRemainingColumn(), console=Console(file=out), transient=True) as progress:
        yield _Bars(progress)


class _Bars:
    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, route: str, done: int, total: int) -> None:
        if route not in self._tasks:
            self._tasks[route] = self._progress.add_task(route)
        self._progress.update(self._tasks[route], completed=done, total=max(done, total))

    def repairs(self, route: str, planned: int, allowed: int) -> None:
        self._progress.console.print(_repairs_text(route, planned, allowed))

    def note(self, route: str, text: str) -> None:
        self._progress.console.print(f"{route}: {text}")


def _repairs_text(route: str, planned: int, allowed: int) -> str:
    return f"{route}: {planned:,} rows to repair, of at most {allowed:,}"


class _Lines:
    def __init__(self, out: TextIO, *, as_json: bool, verb: str) -> None:
        self._out = out
        self._verb = verb
        self._as_json = as_json
        self._pause = _JSON_SECONDS if as_json else _LINE_SECONDS
        self._route = ""
        self._shown_at = time.monotonic()

    def __call__(self, route: str, done: int, total: int) -> None:
        now = time.monotonic()
        is_new = route != self._route
        if now - self._shown_at < self._pause and not (is_new and self._as_json):
            return
        self._route, self._shown_at = route, now
        if self._as_json:
            print(json.dumps({"route": route, "done": done, "total": total}), file=self._out, flush=True)
        else:
            print(f"{route}: {done:,} of about {max(done, total):,} rows {self._verb}", file=self._out, flush=True)

    def repairs(self, route: str, planned: int, allowed: int) -> None:
        if self._as_json:
            repairs = {"route": route, "repairs_planned": planned, "repairs_allowed": allowed}
            print(json.dumps(repairs), file=self._out, flush=True)
        else:
            print(_repairs_text(route, planned, allowed), file=self._out, flush=True)

    def note(self, route: str, text: str) -> None:
        shown = json.dumps({"route": route, "note": text}, ensure_ascii=False) if self._as_json else f"{route}: {text}"
        print(shown, file=self._out, flush=True)
