"""What can go wrong with a stack."""


class StackError(Exception):
    """One clear sentence for the person at the terminal; the command line prints it and exits with 1."""
