"""The one form of an email address.

An address gets this form where it enters. It is stored, compared and counted in it, and mails go to it. Python and
MySQL compare it exactly: a comparison that ignores accents, invisible characters or the difference of `ß` and `ss`
would take the mailboxes of two people for one.
"""

import unicodedata

from pydantic import validate_email

# RFC 5321 §4.5.3.1.3 allows a path of 256 octets, with its angle brackets.
MAX_ADDRESS_LENGTH = 254


def canonical_address(text: str) -> str:
    """The form of this address. A text that is no valid address gets one, too, which no new account can have.

    NFKC, without spaces around; the local part in lower case, not case-folded, so that `ß` stays `ß`; the domain as
    IDNA 2008 has it, in Unicode: `xn--` labels are decoded. A text that is too long for an address stays as it is.
    """
    if len(text) > MAX_ADDRESS_LENGTH:
        return text
    folded = fold_address(text)
    try:
        return validate_email(folded)[1]
    except ValueError:
        return folded


def mailbox_of_alias(email: str) -> str | None:
    """The address that many providers deliver a canonical `ada+anything@…` to, `ada@…`. None for other addresses."""
    local, _, domain = email.rpartition("@")
    mailbox, plus, _ = local.partition("+")
    return f"{mailbox}@{domain}" if plus else None


def fold_address(text: str) -> str:
    """The form of what the validation of an address leaves as it is: the compatible characters and the local part.

    A text that is too long for an address stays as it is. The time of a normalisation grows with the square of the
    number of combining marks: those of a body of 1 MiB would take minutes.
    """
    if len(text) > MAX_ADDRESS_LENGTH:
        return text
    local, at, domain = unicodedata.normalize("NFKC", text).rpartition("@")
    # The lower case of a character may not be in a normal form.
    return unicodedata.normalize("NFKC", local.lower()) + at + domain
