"""Errors of a stack."""


class StackError(Exception):
    """An error for the user of the terminal. The command line prints its text and exits with 1."""


class StartCancelledError(StackError):
    """The start was cancelled."""


class ReportedError(StackError):
    """The error was printed before."""
