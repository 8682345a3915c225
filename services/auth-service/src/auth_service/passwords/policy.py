"""The password policy (ASVS 5.0 §6.2, NIST SP 800-63B §3.1.1). Pure.

A password has 8 to 128 characters of any kind. It is not a common password and does not contain the user's public
names.
"""

from zxcvbn.frequency_lists import FREQUENCY_LISTS

MIN_LENGTH = 8
MAX_LENGTH = 128

# zxcvbn's list of passwords from known leaks.
COMMON_PASSWORDS = frozenset(
    password.casefold() for password in FREQUENCY_LISTS["passwords"] if len(password) >= MIN_LENGTH
)
# Shorter names are part of too many words.
_MIN_NAME_LENGTH = 4


def weakness(password: str, *, username: str, email: str) -> str | None:
    """Why the password is refused, as a sentence for the user, or None if it is accepted."""
    folded = password.casefold()
    if folded in COMMON_PASSWORDS or len(set(folded)) == 1:
        return "This is one of the most common passwords."
    known = {"username": username, "email address": email.partition("@")[0]}
    for name, value in known.items():
        if (len(value) >= _MIN_NAME_LENGTH and value.casefold() in folded) or value.casefold() == folded:
            return f"The password contains your {name}."
    return None
