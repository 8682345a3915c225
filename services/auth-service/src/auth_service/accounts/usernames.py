"""Usernames that nobody may register, because others would take them for somebody's or something's voice. Pure."""

_RESERVED = """
about abuse account accounts admin admins administrator anonymous api auth billing bot contact deleted everyone guest
help here home hostmaster info legal login logout mail me mod moderator moderators news no_reply nobody noreply null
official owner password postmaster press privacy register root search security self settings signin signup staff
status superuser support sync sysadmin system tandem team terms timeline trends tweet tweets undefined unknown user
users webmaster www you
"""
RESERVED = frozenset(_RESERVED.split())


def is_reserved(username: str) -> bool:
    return username.casefold().strip("_") in RESERVED
