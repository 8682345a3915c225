"""Functions of Linux's prctl(2) that Python lacks."""

import ctypes
import signal

_SET_PARENT_DEATH_SIGNAL = 1
_SET_CHILD_SUBREAPER = 36


def adopt_orphans() -> None:
    """Become the parent of descendants whose parent ends, so that this process gets their exit codes."""
    _prctl(_SET_CHILD_SUBREAPER, 1)


def end_with_parent(number: signal.Signals) -> None:
    """Receive this signal when the thread that started this process ends."""
    _prctl(_SET_PARENT_DEATH_SIGNAL, number)


def _prctl(option: int, argument: int) -> None:
    ctypes.CDLL(None).prctl(option, argument, 0, 0, 0)
