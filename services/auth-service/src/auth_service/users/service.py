"""Rules of accounts that several packages share. Pure."""

from collections.abc import Set as AbstractSet

from auth_service.users.models import User
from auth_service.users.problems import LastAdmin
from service_kit.problems import ServiceUnavailable
from service_kit.roles import Role

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


def is_active_admin(user: User) -> bool:
    return user.role == Role.ADMIN and user.is_active


def ensure_admin_remains(locked_admins: AbstractSet[str], user: User) -> None:
    """Call this before a locked user is deleted, deactivated or gets another role.

    `locked_admins` are the ids of all active admins, or nothing if the user was none when the request began: the
    removal of any other account must not block the admins' logins. Raises `LastAdmin`, and `ServiceUnavailable` if the
    user became an admin in the meantime, so that a retry locks the admins first.
    """
    if is_active_admin(user) and user.id not in locked_admins:
        raise ServiceUnavailable("The account was changed in the meantime.")
    if locked_admins == {user.id}:
        raise LastAdmin
