"""Shows the progress of an import: a bar on a terminal, elsewhere a line every few seconds."""

import time
from typing import TextIO

from tweet_service.importing.models import Tally

_WIDTH = 28
_TERMINAL_SECONDS = 0.1
_LOG_SECONDS = 10.0


class Progress:
    def __init__(self, out: TextIO, size: int) -> None:
        self._out = out
        self._size = size
        self._is_terminal = out.isatty()
        self._begun = time.monotonic()
        self._shown = self._begun if not self._is_terminal else 0.0
        self._skipped_records: int | None = None

    def show(self, consumed: int, tally: Tally, *, is_last: bool = False) -> None:
        """`consumed` bytes of the file have been read."""
        now = time.monotonic()
        if self._skipped_records is None:
            self._skipped_records = tally.records
        if not is_last and now - self._shown < (_TERMINAL_SECONDS if self._is_terminal else _LOG_SECONDS):
            return
        if is_last and not self._is_terminal:
            return
        self._shown = now
        self._print(self._line(consumed, tally, now - self._begun))
        if is_last:
            print(file=self._out)

    def say(self, sentence: str) -> None:
        """Print a message on its own line."""
        self._print(sentence)
        if self._is_terminal:
            print(file=self._out)

    def _print(self, line: str) -> None:
        # ESC [ K clears the rest of a longer line.
        print(f"\r{line}\033[K" if self._is_terminal else line, end="" if self._is_terminal else "\n", file=self._out)
        self._out.flush()

    def _line(self, consumed: int, tally: Tally, seconds: float) -> str:
        share = min(1.0, consumed / self._size) if self._size else 1.0
        bar = "█" * int(share * _WIDTH) + "░" * (_WIDTH - int(share * _WIDTH))
        rate = (tally.records - (self._skipped_records or 0)) / max(seconds, 0.001)
        left = seconds / share - seconds if share else 0.0
        return (
            f"{share:4.0%} {bar} {tally.records:,} records, {tally.rejected:,} rejected, "
            f"{rate:,.0f} a second, {left:,.0f} s left"
        )
