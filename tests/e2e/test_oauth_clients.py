"""OAuth2's libraries find the issuer by its metadata, log in, call an API, and renew their tokens."""

import asyncio
from typing import Any, TypeVar

import pytest
import requests
from authlib.integrations.base_client import OAuthError
from authlib.integrations.requests_client import OAuth2Session as AuthlibSession
from oauthlib.oauth2 import InvalidGrantError, LegacyApplicationClient
from requests.adapters import HTTPAdapter
from requests_oauthlib import OAuth2Session
from urllib3.util import Retry

from e2e.users import User
from embedded_stack import Stack

SessionT = TypeVar("SessionT", bound=requests.Session)


def patient(session: SessionT) -> SessionT:
    """A busy machine answers some requests with 503."""
    repeat = Retry(total=60, status_forcelist=[503], allowed_methods=None)
    session.mount("http://", HTTPAdapter(max_retries=repeat))
    return session


@pytest.fixture
def gateway(running_stack: Stack, monkeypatch: pytest.MonkeyPatch) -> str:
    # The libraries demand https otherwise.
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")
    monkeypatch.setenv("AUTHLIB_INSECURE_TRANSPORT", "1")
    return running_stack.addresses["GATEWAY_URL"]


@pytest.fixture
def metadata(gateway: str) -> dict[str, Any]:
    issuer = f"{gateway}/api/auth"
    addresses = [
        f"{gateway}/.well-known/oauth-authorization-server/api/auth",  # RFC 8414 §3.1
        f"{gateway}/.well-known/openid-configuration/api/auth",  # RFC 8414 §5
        f"{issuer}/.well-known/openid-configuration",  # OpenID Connect Discovery §4
    ]
    with patient(requests.Session()) as session:
        (metadata, *others) = [session.get(address, timeout=60).json() for address in addresses]
        assert others == [metadata, metadata]
        assert metadata["issuer"] == issuer
        assert session.get(metadata["jwks_uri"], timeout=60).status_code == 200
    document: dict[str, Any] = metadata
    return document


async def test_requests_oauthlib(gateway: str, metadata: dict[str, Any], user: User) -> None:
    endpoint = metadata["token_endpoint"]

    def use() -> None:
        session = patient(OAuth2Session(client=LegacyApplicationClient(client_id="")))
        with pytest.raises(InvalidGrantError, match="password is wrong"):
            session.fetch_token(endpoint, username=user.username, password="wrong")
        first = session.fetch_token(endpoint, username=user.username, password=user.password)
        posted = session.post(f"{gateway}/api/tweets/v1/tweets", json={"text": "by requests-oauthlib"}, timeout=60)
        assert posted.status_code == 201, posted.text
        second = session.refresh_token(endpoint, refresh_token=first["refresh_token"])
        assert second["refresh_token"] != first["refresh_token"]
        with pytest.raises(InvalidGrantError):
            session.refresh_token(endpoint, refresh_token="none")

    await asyncio.to_thread(use)


async def test_authlib(gateway: str, metadata: dict[str, Any], user: User) -> None:
    endpoint = metadata["token_endpoint"]

    def use() -> None:
        with patient(AuthlibSession("", token_endpoint_auth_method="none", token_endpoint=endpoint)) as session:
            with pytest.raises(OAuthError, match="invalid_grant"):
                session.fetch_token(endpoint, username=user.username, password="wrong", grant_type="password")
            first = session.fetch_token(endpoint, username=user.username, password=user.password, grant_type="password")
            posted = session.post(f"{gateway}/api/tweets/v1/tweets", json={"text": "by Authlib"}, timeout=60)
            assert posted.status_code == 201, posted.text
            second = session.refresh_token(endpoint, refresh_token=first["refresh_token"])
            assert second["refresh_token"] != first["refresh_token"]

    await asyncio.to_thread(use)
