"""Expressions in CEL, the Common Expression Language (https://cel.dev), over the fields of a row. Pure.

CEL has no loops but over the items of a list, no assignments, no input or output, and its regular expressions take
linear time. One loop for each expression, over few items, and a limited length keep the time short: `map` and `filter`
copy their result for each item, and the event loop waits.
"""

import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

from sync_service.debezium.errors import UnfitValue

MAXIMUM_LENGTH = 1000
# In the lists and maps of an expression with a loop, at all depths.
MAXIMUM_ITEMS = {"all": 1000, "exists": 1000, "exists_one": 1000, "map": 100, "filter": 100}
# What the package has of CEL's own functions.
_FUNCTIONS = (
    "bytes",
    "contains",
    "double",
    "duration",
    "dyn",
    "endsWith",
    "getDate",
    "getDayOfMonth",
    "getDayOfWeek",
    "getDayOfYear",
    "getFullYear",
    "getHours",
    "getMilliseconds",
    "getMinutes",
    "getMonth",
    "getSeconds",
    "int",
    "matches",
    "size",
    "startsWith",
    "string",
    "timestamp",
    "type",
    "uint",
)

_LOOP = re.compile(rf"\.\s*({'|'.join(MAXIMUM_ITEMS)})\s*\(\s*(\w*)")
_FUNCTION = re.compile(r"[A-Za-z]\w*")
_SYNTAX_ERROR = re.compile(r"ERROR: <input>:\d+:(\d+): (?:Syntax error: )?(.+?)(?: expecting \{.*)?$", re.MULTILINE)
# What an error says, by its class. The package's own messages may contain values, which may be personal.
_REASONS: Mapping[type[BaseException], str] = {
    KeyError: "a field or key that does not exist: see has()",
    TypeError: "values of these types can't be combined, or one is null: compare with null first",
    ZeroDivisionError: "a division by zero",
    OverflowError: "a number beyond 64 bits",
}
_OTHER_REASON = "a function refuses its value"


class Expression:
    """`names` are the variables that it needs, besides those of its loop.

    Raises `ValueError`, with one sentence, if the text is no expression.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        if len(text) > MAXIMUM_LENGTH:
            raise ValueError(f"an expression has at most {MAXIMUM_LENGTH} characters, and this one has {len(text)}")
        loops = _LOOP.findall(text)
        if len(loops) > 1:
            raise ValueError("an expression has at most one of all, exists, exists_one, filter and map")
        # It takes a fifth of a second to load, which most commands and routes need not spend.
        import cel  # noqa: PLC0415 - see above

        try:
            program = cel.compile(text)
            references = program.references()
        except ValueError as error:
            raise ValueError(f"not an expression in CEL: {_first_error(error)}") from error
        named = {name for name in references["functions"] if _FUNCTION.fullmatch(name)}
        if unknown := sorted(named.difference(_FUNCTIONS)):
            raise ValueError(f"{', '.join(unknown)} is no function of expressions; they have {', '.join(_FUNCTIONS)}")
        self.loop_variables: Collection[str] = {variable for _, variable in loops}
        self.names: Collection[str] = sorted(set(references["variables"]) - self.loop_variables)
        self._most_items = min((MAXIMUM_ITEMS[loop] for loop, _ in loops), default=None)
        self._execute: Callable[[dict[str, Any]], Any] = program.execute

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Expression) and self.text == other.text

    def __hash__(self) -> int:
        return hash(self.text)

    def __repr__(self) -> str:
        return f"Expression({self.text!r})"

    def __call__(self, values: dict[str, Any]) -> Any:
        """The result for these variables. Raises `UnfitValue`, which contains no value of them."""
        if self._most_items is not None and _has_more_items(values, self._most_items):
            raise UnfitValue(f"{self.text}: lists and maps with more than {self._most_items} items")
        try:
            return self._execute(values)
        except BaseException as error:
            # A panic of the package, which is written in Rust, is no Exception.
            if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
                raise
            reason = next((text for kind, text in _REASONS.items() if isinstance(error, kind)), _OTHER_REASON)
            raise UnfitValue(f"{self.text}: {reason}") from error


def _has_more_items(values: dict[str, Any], most: int) -> bool:
    found, pending = 0, list(values.values())
    while pending:
        value = pending.pop()
        if isinstance(value, list | dict):
            found += len(value)
            if found > most:
                return True
            pending.extend(value.values() if isinstance(value, dict) else value)
    return False


def _first_error(error: ValueError) -> str:
    """The package quotes the expression, draws a picture of the place, and lists all that could follow."""
    found = _SYNTAX_ERROR.search(str(error))
    return f"{found[2]} (character {found[1]})" if found else str(error)
