"""People who use the web UI."""

from collections.abc import Awaitable, Callable
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import urlsplit

import httpx

from e2e.people import Person
from support.responses import served

# Opens an account with a role.
NewPerson = Callable[..., Awaitable[Person]]


async def logged_in_state(gateway: str, person: Person) -> Any:
    """A browser's state behind a login: its cookie, and the note that there is one (web/session.js)."""
    async with httpx.AsyncClient(base_url=gateway, timeout=20) as client:
        login = await served(
            lambda: client.post(
                "/api/auth/v1/browser/login",
                json={"login": person.username, "password": person.password},
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
