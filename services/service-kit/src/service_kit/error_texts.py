"""Texts of errors for logs, without the values that databases quote.

A duplicate entry of MySQL, a refused command of MongoDB or a failed write of a batch has values of rows in its text.
"""

import traceback
from collections.abc import Iterator
from types import TracebackType

# The packages whose errors quote values. They are optional, so their classes are known by name.
_QUOTING = frozenset({"asyncmy", "bson", "pydantic_core", "pymongo", "sqlalchemy"})
# Errors of connections and pools, which quote addresses and times only.
_OF_CONNECTIONS = frozenset({"ConnectionFailure", "TimeoutError"})
# Errors that MySQL's client finds, mostly of connections (MySQL's error reference, "Client Error Message Reference").
_CLIENT_CODES = range(2000, 3000)


def error_text(error: BaseException) -> str:
    """The class and the message of an error. Of one whose message may quote values, the class and the code."""
    if isinstance(error, BaseExceptionGroup):
        return f"{type(error).__name__}({error.message!r}, [{', '.join(map(error_text, error.exceptions))}])"
    return _without_values(error) or repr(error)


def error_reason(error: BaseException) -> str:
    """As `error_text`, as a part of a sentence: `KeyError: 'id'`."""
    return _without_values(error) or f"{type(error).__name__}: {error}"


def error_message(error: BaseException) -> str:
    """The message alone, such as one for users. Of an error whose message may quote values, the class and the code."""
    return _without_values(error) or str(error) or type(error).__name__


def traceback_text(
    exc_info: tuple[type[BaseException], BaseException, TracebackType | None],
) -> str:
    """As Python prints a traceback, but with `error_text` where a message may quote values."""
    found = traceback.TracebackException(*exc_info)
    for shown, each in _chain(found, exc_info[1]):
        if (text := _without_values(each)) is not None:
            # The message that `format` prints. There is no public name for it.
            vars(shown)["_str"] = f"[{text}]"
    return "".join(found.format()).rstrip("\n")


def _without_values(error: BaseException) -> str | None:
    """None if the message quotes no values."""
    classes = type(error).__mro__
    if not any(cls.__module__.partition(".")[0] in _QUOTING for cls in classes):
        return None
    code = _code(error)
    if code in _CLIENT_CODES or any(cls.__name__ in _OF_CONNECTIONS for cls in classes):
        return None
    name = type(error).__name__
    return name if code is None else f"{name} {code}"


def _code(error: BaseException) -> int | None:
    """The server's code. (SQLAlchemy's own `code` is a text.)"""
    code = getattr(error, "code", None)
    if not isinstance(code, int):
        # `orig` is None in an error that SQLAlchemy itself has found.
        code = next(iter((getattr(error, "orig", None) or error).args), None)
    return code if isinstance(code, int) else None


def _chain(
    shown: traceback.TracebackException, error: BaseException
) -> Iterator[tuple[traceback.TracebackException, BaseException]]:
    """All errors of a traceback with what is shown of them."""
    pairs: list[tuple[traceback.TracebackException | None, BaseException | None]] = [(shown, error)]
    while pairs:
        part, each = pairs.pop()
        if part is None or each is None:
            continue
        yield part, each
        pairs += [(part.__cause__, each.__cause__), (part.__context__, each.__context__)]
        if isinstance(each, BaseExceptionGroup):
            pairs += zip(part.exceptions or (), each.exceptions, strict=True)
