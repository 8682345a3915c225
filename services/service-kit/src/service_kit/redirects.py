"""Redirects to the same path with or without a slash at its end, as Starlette's, but with relative addresses."""

from urllib.parse import quote

from fastapi import FastAPI
from starlette.responses import RedirectResponse
from starlette.routing import Match
from starlette.types import Receive, Scope, Send


def redirect_slashes(app: FastAPI) -> None:
    """Starlette takes the host of the address from the header Host, which any client and any link can choose."""
    router, not_found = app.router, app.router.not_found
    router.redirect_slashes = False

    async def redirect_or_not_found(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            path = scope["path"]
            other = path.rstrip("/") if path.endswith("/") else f"{path}/"
            asked = {**scope, "path": other}
            if any(route.matches(asked)[0] is not Match.NONE for route in router.routes):
                query = scope["query_string"].decode("latin-1")
                await RedirectResponse(quote(other) + (f"?{query}" if query else ""))(scope, receive, send)
                return
        await not_found(scope, receive, send)

    router.default = redirect_or_not_found
