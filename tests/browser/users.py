"""Users of the web UI."""

from collections.abc import Awaitable, Callable
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import urlsplit

import httpx

from e2e.users import User
from support.responses import served

# Signs up a user with a role.
NewUser = Callable[..., Awaitable[User]]


async def logged_in_state(gateway: str, user: User) -> Any:
    """A browser's state after a login: its cookie, and the note that there is one (web/session.js)."""
    async with httpx.AsyncClient(base_url=gateway, timeout=20) as client:
        login = await served(
            lambda: client.post(
                "/api/auth/v1/browser/login",
                json={"login": user.username, "password": user.password},
                headers={"X-Tandem-Browser": "1", "Origin": gateway},
            )
        )
    assert login.status_code == 200, login.text
    ((name, morsel),) = SimpleCookie(login.headers["set-cookie"]).items()
    cookie = {
        "name": name,
        "value": morsel.value,
        "domain": urlsplit(gateway).hostname,
        "path": morsel["path"],
        "expires": -1,
        "httpOnly": True,
        "secure": False,
        "sameSite": "Strict",
    }
    marked = {"origin": gateway, "localStorage": [{"name": "tandem.session", "value": "1"}]}
    return {"cookies": [cookie], "origins": [marked]}
