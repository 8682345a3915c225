"""The rules of a tweet's text: its length in code points after NFC, and at least one visible character. Pure."""

import unicodedata
from typing import Annotated

from pydantic import AfterValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

# The one place in this service that defines the length. The web UI has it in text.js; the sync has it in the column of
# its view of hashtags (views.py).
MAX_CODE_POINTS = 280

# A canonical composition joins at most four code points, so longer texts can't become short enough. Normalising a
# megabyte of combining marks would take seconds.
_MAX_UNNORMALISED = 4 * MAX_CODE_POINTS
_INVISIBLE = frozenset({"Zs", "Zl", "Zp", "Cc", "Cf"})


def is_blank(text: str) -> bool:
    """Whether no character is visible."""
    return all(unicodedata.category(char) in _INVISIBLE for char in text)


def normalise(text: str) -> str:
    """The text as it is stored. Raises a validation error that names the violated rule."""
    normalised = unicodedata.normalize("NFC", text) if len(text) <= _MAX_UNNORMALISED else text
    if len(normalised) > MAX_CODE_POINTS:
        raise PydanticCustomError("text_too_long", f"The text is longer than {MAX_CODE_POINTS} code points.")
    if is_blank(normalised):
        raise PydanticCustomError("text_blank", "The text is blank.")
    return normalised


TweetText = Annotated[
    str,
    AfterValidator(normalise),
    WithJsonSchema(
        {
            "type": "string",
            "minLength": 1,
            "maxLength": MAX_CODE_POINTS,
            "description": f"1 to {MAX_CODE_POINTS} code points after normalisation to NFC, not blank.",
            "examples": ["Hello #Tandem"],
        }
    ),
]
