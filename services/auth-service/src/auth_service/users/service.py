"""Rules of accounts that several packages share. Pure."""

from collections.abc import Set as AbstractSet

from auth_service.users.models import User
from auth_service.users.problems import LastAdmin

# Names that readers could take for the service, its staff or a page.
_RESERVED = """
about abuse account accounts admin admins administrator anonymous api auth billing bot contact deleted everyone guest
help here home hostmaster info legal login logout mail me mod moderator moderators news no_reply nobody noreply null
official owner password postmaster press privacy register root search security self settings signin signup staff
status superuser support sync sysadmin system tandem team terms timeline trends tweet tweets undefined unknown user
users webmaster www you
"""
RESERVED_USERNAMES = frozenset(_RESERVED.split())


def is_reserved(username: str) -> bool:
    return username.casefold().strip("_") in RESERVED_USERNAMES


def ensure_admin_remains(active_admins: AbstractSet[str], user: User) -> None:
    """Call this before a user is removed from the active admins, whose ids are locked. Raises `LastAdmin`."""
    if active_admins <= {user.id} and user.id in active_admins:
        raise LastAdmin
