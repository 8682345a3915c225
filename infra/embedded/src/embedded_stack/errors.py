"""What can go wrong with a stack."""


class StackError(Exception):
    """One clear sentence for the person at the terminal; the command line prints it and exits with 1."""


class StartCancelledError(StackError):
    """A start that was asked to end."""


class ReportedError(StackError):
    """What went wrong has been printed already."""
