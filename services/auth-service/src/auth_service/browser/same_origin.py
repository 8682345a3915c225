"""Prevents other sites from using or setting a visitor's cookie (OWASP CSRF Prevention Cheat Sheet).

There are three defences. Each is sufficient in a browser without bugs:

1. The cookie is `SameSite=Strict`: the browser does not send it with requests of other sites.
2. Every request needs the header `X-Tandem-Browser`. A form can't send it. A script of another origin needs a CORS
   preflight for it, which this service never allows.
3. The browser sends `Sec-Fetch-Site` and `Origin`, which scripts can't set. A request with neither is refused: clients
   that are not browsers use `/v1/login` and `/v1/refresh`.

The second and third also protect login and registration, which need no cookie: otherwise another site could log a
visitor in to a foreign account (login CSRF).
"""

from typing import Any
from urllib.parse import urlsplit

from fastapi import Request
from starlette.datastructures import Headers

from auth_service.browser.problems import CrossSiteRequest
from auth_service.settings import Settings

HEADER, VALUE = "X-Tandem-Browser", "1"
# For OpenAPI only. As a FastAPI parameter, a missing header would be a 422.
HEADER_PARAMETER: dict[str, Any] = {
    "name": HEADER,
    "in": "header",
    "required": True,
    "description": "Proves that a script of this site sent the request. `Origin` must be this site, too.",
    "schema": {"type": "string", "enum": [VALUE]},
}


def is_same_origin(headers: Headers, public_url: str) -> bool:
    """Whether a page of the requested origin or of the public origin sent the request. Pure."""
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if headers.get(HEADER) != VALUE or site not in (None, "same-origin"):
        return False
    if origin is None:
        return site is not None
    # `Origin` is compared, not parsed: it may be any text.
    public, host = urlsplit(public_url), headers.get("host")
    return origin in (f"http://{host}", f"https://{host}", f"{public.scheme}://{public.netloc}")


async def refuse_other_sites(request: Request) -> None:
    """Raises `CrossSiteRequest`."""
    settings: Settings = request.app.state.settings
    if not is_same_origin(request.headers, settings.auth_public_url):
        raise CrossSiteRequest
