"""Which passwords are accepted (ASVS 5.0 §6.2, NIST SP 800-63B §3.1.1). Pure.

8 to 128 characters, of any kind; none of those that everybody tries first, and none that contains what is publicly
known of its owner.
"""

from zxcvbn.frequency_lists import FREQUENCY_LISTS

MIN_LENGTH = 8
MAX_LENGTH = 128

# By zxcvbn: passwords of well-known leaks, the most frequent first.
COMMON_PASSWORDS = frozenset(
    password.casefold() for password in FREQUENCY_LISTS["passwords"] if len(password) >= MIN_LENGTH
)
# A shorter name is in too many words to say anything.
_MIN_TELLING = 4


def weakness(password: str, *, username: str, email: str) -> str | None:
    """Why this password is not accepted, in words for its owner; None if it is."""
    folded = password.casefold()
    if folded in COMMON_PASSWORDS or len(set(folded)) == 1:
        return "This is one of the most common passwords."
    known = {"username": username, "email address": email.partition("@")[0]}
    for name, value in known.items():
        if (len(value) >= _MIN_TELLING and value.casefold() in folded) or value.casefold() == folded:
            return f"The password contains your {name}."
    return None
