"""Types of command-line arguments."""

from argparse import ArgumentTypeError


def positive_number(text: str) -> int:
    """Raises `ArgumentTypeError`."""
    if not text.isdecimal() or int(text) < 1:
        raise ArgumentTypeError(f"{text!r} must be a number of at least 1")
    return int(text)
