"""Types of command-line arguments."""

from argparse import ArgumentTypeError

_LONGEST_OFFSET = 18


def positive_number(text: str) -> int:
    """Raises `ArgumentTypeError`."""
    if not text.isdecimal() or int(text) < 1:
        raise ArgumentTypeError(f"{text!r} must be a number of at least 1")
    return int(text)


def partition_offset(text: str) -> tuple[int, int]:
    """`PARTITION:OFFSET`. Raises `ArgumentTypeError`."""
    partition, colon, offset = text.partition(":")
    if not colon or not partition.isdecimal() or not offset.isdecimal() or len(offset) > _LONGEST_OFFSET:
        raise ArgumentTypeError(f"{text!r} must be PARTITION:OFFSET, such as 0:4712")
    return int(partition), int(offset)
