"""Keeps other sites from using a visitor's cookie, or from planting their own (OWASP CSRF Prevention Cheat Sheet).

Three fences, each of which would do by itself in a browser that works as it should:

1. the cookie is `SameSite=Strict`: the browser does not send it along with what another site asks for;
2. every request needs the header `X-Tandem-Browser`. No form can send it, and a script of another origin only after a
   CORS preflight, which nobody here answers;
3. the browser says itself who asks, in `Sec-Fetch-Site` and `Origin`, which scripts can't set. Who says neither is no
   browser of today, and is refused: other clients have `/v1/login` and its kin.

The second and third go for logging in and registering too, for which no cookie is needed: another site could otherwise
log a visitor in as somebody else (login CSRF).
"""

from typing import Any
from urllib.parse import urlsplit

from fastapi import Request
from starlette.datastructures import Headers

from auth_service.browser.problems import CrossSiteRequest
from auth_service.settings import Settings

HEADER, VALUE = "X-Tandem-Browser", "1"
# For OpenAPI. FastAPI does not know of it: it would answer 422 where it is missing.
HEADER_PARAMETER: dict[str, Any] = {
    "name": HEADER,
    "in": "header",
    "required": True,
    "description": "Shows that it was a script of this site that asked. `Origin` must be this site's too.",
    "schema": {"type": "string", "enum": [VALUE]},
}


def is_same_origin(headers: Headers, public_url: str) -> bool:
    """Was this asked by a page of the origin that the request went to, or of that which the public knows? Pure."""
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if headers.get(HEADER) != VALUE or site not in (None, "same-origin"):
        return False
    if origin is None:
        return site is not None
    # Compared, not parsed: it may say anything.
    public, host = urlsplit(public_url), headers.get("host")
    return origin in (f"http://{host}", f"https://{host}", f"{public.scheme}://{public.netloc}")


async def refuse_other_sites(request: Request) -> None:
    """Raises `CrossSiteRequest`."""
    settings: Settings = request.app.state.settings
    if not is_same_origin(request.headers, settings.auth_public_url):
        raise CrossSiteRequest
