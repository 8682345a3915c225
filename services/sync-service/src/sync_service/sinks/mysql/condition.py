"""A condition in SQL that a user gives, as a part of a statement. Pure."""

import re

from sync_service.sinks.rows import WrongCondition

_TOKENS = re.compile(r"""'[^']*'|"[^"]*"|`[^`]*`|--|/\*|.""", re.DOTALL)
_REFUSED = {
    **dict.fromkeys(("--", "/*", "#"), "a comment"),
    **dict.fromkeys(("'", '"', "`"), "a quote that does not end"),
    ";": "a semicolon",
}


def sql_condition(text: str) -> str:
    """One expression in parentheses, for a statement with parameters. Raises `WrongCondition`.

    Nothing in it can end the parentheses, so it can only select rows. Without a backslash, a quote ends at the next one
    whatever the `sql_mode`.
    """
    if "\\" in text:
        raise WrongCondition("--where has a backslash: write it without, such as CHAR(92)")
    depth = 0
    for part in _TOKENS.findall(text):
        if part in _REFUSED:
            raise WrongCondition(f"--where has {_REFUSED[part]} ({part}): write one condition, as after WHERE")
        depth += (part == "(") - (part == ")")
        if depth < 0:
            break
    if depth:
        raise WrongCondition("--where has a parenthesis that is not opened or not closed")
    if not text.strip():
        raise WrongCondition("--where is empty: write one condition, as after WHERE")
    return f"({text})".replace("%", "%%")
