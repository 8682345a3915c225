"""HTTP endpoints of public keys and metadata (RFC 8414; OpenID Connect Discovery has the same members)."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, Field

from auth_service.dependencies import SettingsDep
from auth_service.keys.service import KeyRing
from service_kit.roles import Scope
from service_kit.tokens import ALGORITHM

router = APIRouter(prefix="/.well-known", tags=["keys"])

# Much shorter than the time for which a key is published before it signs (`schedule.LEAD`).
CACHE_CONTROL = "public, max-age=300"


async def _key_ring(request: Request) -> KeyRing:
    ring: KeyRing = request.app.state.key_ring
    return ring


_ISSUER = "https://tandem.example/api/auth"
_KEY = {
    "kty": "EC",
    "crv": "P-256",
    "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
    "kid": "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs",
    "alg": ALGORITHM,
    "use": "sig",
}


class JsonWebKeySet(BaseModel):
    """RFC 7517 §5."""

    keys: list[dict[str, Any]] = Field(examples=[[_KEY]])


class IssuerMetadata(BaseModel):
    """RFC 8414 §2. No endpoint issues authorization codes or ID tokens, and no client has a secret."""

    issuer: str = Field(examples=[_ISSUER])
    jwks_uri: str = Field(examples=[f"{_ISSUER}/.well-known/jwks.json"])
    token_endpoint: str = Field(examples=[f"{_ISSUER}/v1/token"])
    grant_types_supported: list[str] = ["password", "refresh_token"]
    response_types_supported: list[str] = []
    token_endpoint_auth_methods_supported: list[str] = ["none"]
    scopes_supported: list[str] = list(Scope)
    subject_types_supported: list[str] = ["public"]


@router.get("/jwks.json", summary="Read the public keys that verify access tokens")
async def jwks(response: Response, keys: Annotated[KeyRing, Depends(_key_ring)]) -> JsonWebKeySet:
    response.headers["Cache-Control"] = CACHE_CONTROL
    return JsonWebKeySet(keys=keys.public_keys())


@router.get("/oauth-authorization-server", summary="Read the issuer's metadata")
async def authorization_server_metadata(response: Response, settings: SettingsDep) -> IssuerMetadata:
    response.headers["Cache-Control"] = CACHE_CONTROL
    issuer = settings.auth_issuer
    return IssuerMetadata(
        issuer=issuer, jwks_uri=f"{issuer}/.well-known/jwks.json", token_endpoint=f"{issuer}/v1/token"
    )


@router.get("/openid-configuration", summary="Read the issuer's metadata, for OpenID Connect Discovery")
async def openid_configuration(response: Response, settings: SettingsDep) -> IssuerMetadata:
    return await authorization_server_metadata(response, settings)
