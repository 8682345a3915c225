"""OpenAPI descriptions of response headers. A required one is never missing."""

from typing import Any

ETAG: dict[str, Any] = {
    "description": "Version and digest of the tweet.",
    "required": True,
    "schema": {"type": "string", "pattern": '^"[1-9][0-9]*-[0-9a-f]{16}"$'},
    "example": '"1-9f86d081884c7d65"',
}
LOCATION: dict[str, Any] = {
    "description": "Path of the tweet.",
    "required": True,
    "schema": {"type": "string", "pattern": "/v1/tweets/[0-9a-f]{24}$"},
    "example": "/api/tweets/v1/tweets/6924ea2f0c9d3a5b7e1f4a68",
}
VARY: dict[str, Any] = {
    "description": "Names of authors depend on the caller.",
    "required": True,
    "schema": {"type": "string", "const": "Authorization"},
    "example": "Authorization",
}


def cache_control(value: str) -> dict[str, Any]:
    return {
        "description": "RFC 9111 §5.2.2. `no-store` in the response to a request with a token.",
        "required": True,
        "schema": {"type": "string", "enum": [value, "no-store"]},
        "example": value,
    }
