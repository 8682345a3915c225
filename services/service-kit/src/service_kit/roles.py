"""Roles of accounts, and the scopes that each implies: what its access tokens permit.

This is the only place that relates roles to scopes. Each endpoint names the scope that it needs (`authorization`).
"""

from collections.abc import Mapping
from enum import StrEnum
from functools import lru_cache


class Role(StrEnum):
    """As access tokens carry it in the claim `role`."""

    CUSTOMER = "customer"
    TECHNICAL_WORKER = "technical_worker"
    SENIOR_MANAGER = "senior_manager"
    ADMIN = "admin"


class Scope(StrEnum):
    """As access tokens carry it in the claim `scope`, separated by spaces (RFC 8693 §4.2)."""

    TWEETS_WRITE = "tweets:write"
    PROFILE_WRITE = "profile:write"
    TWEETS_MODERATE = "tweets:moderate"
    SYNC_READ = "sync:read"
    SYNC_WRITE = "sync:write"
    USERS_READ = "users:read"
    USERS_WRITE = "users:write"
    AUDIT_READ = "audit:read"


SCOPES: Mapping[Role, tuple[Scope, ...]] = {
    Role.CUSTOMER: (Scope.TWEETS_WRITE, Scope.PROFILE_WRITE),
    Role.TECHNICAL_WORKER: (Scope.TWEETS_WRITE, Scope.PROFILE_WRITE, Scope.SYNC_READ, Scope.SYNC_WRITE),
    Role.SENIOR_MANAGER: (
        Scope.TWEETS_WRITE,
        Scope.PROFILE_WRITE,
        Scope.USERS_READ,
        Scope.AUDIT_READ,
        Scope.SYNC_READ,
    ),
    Role.ADMIN: tuple(Scope),
}

SCOPE_MEANINGS: Mapping[Scope, str] = {
    Scope.TWEETS_WRITE: "Post, edit and delete tweets, like, repost, follow.",
    Scope.PROFILE_WRITE: "Change the profile, the password and the sessions of the own account.",
    Scope.TWEETS_MODERATE: "Delete tweets of others.",
    Scope.SYNC_READ: "Read the state of the sync, change events and dead letters.",
    Scope.SYNC_WRITE: "Resume routes, resolve dead letters, compare and repair copies.",
    Scope.USERS_READ: "Read all accounts, and fields that are marked as personal.",
    Scope.USERS_WRITE: "Create accounts of any role, and change and delete all accounts.",
    Scope.AUDIT_READ: "Read the audit trail.",
}

# Release 0.1 put other scopes into the tokens of these roles, and its services checked the role as well. Its tokens are
# valid for up to an hour after an upgrade, with the scopes that their role implies now.
_CLAIMS_OF_RELEASE_0_1: Mapping[str, str] = {
    Role.CUSTOMER: "tweets:write",
    Role.TECHNICAL_WORKER: "tweets:write sync:read",
    Role.SENIOR_MANAGER: "tweets:write users:read",
    Role.ADMIN: "tweets:write tweets:moderate sync:read sync:write users:read users:write audit:read",
}


@lru_cache
def granted_scopes(claim: str, role: str) -> frozenset[Scope]:
    """The scopes that a token grants by its claims `scope` and `role`. Unknown scopes are ignored."""
    if _CLAIMS_OF_RELEASE_0_1.get(role) == claim:
        return frozenset(SCOPES[Role(role)])
    known = set(Scope)
    return frozenset(Scope(name) for name in claim.split() if name in known)
