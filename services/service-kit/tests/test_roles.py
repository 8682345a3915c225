"""Roles, scopes, and the claims of tokens."""

import pytest

from service_kit.authorization import InsufficientScope, require_scopes
from service_kit.roles import SCOPE_MEANINGS, SCOPES, Role, Scope, granted_scopes


@pytest.mark.parametrize("role", list(Role))
def test_token_grants_the_scopes_of_its_role(role: Role) -> None:
    assert granted_scopes(" ".join(SCOPES[role]), role) == set(SCOPES[role])


@pytest.mark.parametrize(
    ("role", "claim", "added"),
    [
        ("customer", "tweets:write", {"profile:write"}),
        ("technical_worker", "tweets:write sync:read", {"profile:write", "sync:write"}),
        ("senior_manager", "tweets:write users:read", {"profile:write", "audit:read", "sync:read"}),
        (
            "admin",
            "tweets:write tweets:moderate sync:read sync:write users:read users:write audit:read",
            {"profile:write"},
        ),
    ],
)
def test_token_of_the_last_release_grants_what_its_role_implies_now(role: str, claim: str, added: set[str]) -> None:
    assert granted_scopes(claim, role) == {*claim.split(), *added}


@pytest.mark.parametrize("role", ["customer", "admin", "future_role"])
def test_token_grants_no_more_than_its_claim(role: str) -> None:
    assert granted_scopes("tweets:write sync:read future:scope", role) == {"tweets:write", "sync:read"}
    assert granted_scopes("", role) == set()


def test_missing_scope_is_named() -> None:
    require_scopes({Scope.SYNC_READ, Scope.USERS_READ}, [Scope.SYNC_READ])
    with pytest.raises(InsufficientScope) as refused:
        require_scopes({Scope.SYNC_READ}, [Scope.SYNC_READ, Scope.SYNC_WRITE])
    assert (refused.value.status, refused.value.code) == (403, "forbidden")
    assert refused.value.headers["WWW-Authenticate"] == 'Bearer error="insufficient_scope", scope="sync:write"'


def test_every_scope_has_a_meaning() -> None:
    assert SCOPE_MEANINGS.keys() == set(Scope)
